"""The manifest of the open emoji data: which drawing plays which role in which stand-in."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kdx2i.data.pack import read_verified
from kdx2i.errors import UserError
from kdx2i.foreign import parse_json, refusing

Role = Literal["train", "test"]
ROLES: tuple[Role, ...] = ("train", "test")
COLUMNS = [
    *("standin", "split", "class", "tier", "set", "name", "codepoints", "cldr_name", "family", "group"),
    *("licence", "share_alike", "raster64_md5", "captions"),
]


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One drawing in one stand-in.

    `family` is the design house, `group` the near-duplicate group (empty: none), `raster64_md5` the first
    12 hexadecimal digits of the MD5 of its 64 x 64 RGB pixels on white (a hint, not a checksum).
    """

    standin: str
    role: Role
    label: str
    tier: str
    set: str
    name: str
    codepoints: str
    cldr_name: str
    family: str
    group: str
    licence: str
    share_alike: bool
    raster64_md5: str
    captions: tuple[str, ...]

    @property
    def source(self) -> str:
        """The drawing's address, `<set>:<name>`."""
        return f"{self.set}:{self.name}"


def read_manifest(path: Path, sha256: str | None) -> Iterator[ManifestRow]:
    """Yield the rows of the manifest after its checksum was compared; a broken row raises `UserError`."""
    try:
        text = read_verified(path, sha256).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None
    with refusing(f"{path} is not a readable table"):
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if reader.fieldnames != COLUMNS:
            raise UserError(f"{path} must have the columns {', '.join(COLUMNS)}")
        for record in reader:
            yield _row(record, f"{path}, line {reader.line_num}")


def _row(record: dict[str, str], where: str) -> ManifestRow:
    """Build one row from its texts."""
    try:
        role = next(role for role in ROLES if role == record["split"])
        captions = parse_json(record["captions"], f"{where}, is not a row of the manifest")
        if record["share_alike"] not in ("0", "1") or not isinstance(captions, list):
            raise ValueError
        return ManifestRow(
            standin=record["standin"],
            role=role,
            label=record["class"],
            tier=record["tier"],
            set=record["set"],
            name=record["name"],
            codepoints=record["codepoints"],
            cldr_name=record["cldr_name"],
            family=record["family"],
            group=record["group"],
            licence=record["licence"],
            share_alike=record["share_alike"] == "1",
            raster64_md5=record["raster64_md5"],
            captions=tuple(str(caption) for caption in captions),
        )
    except (StopIteration, ValueError, KeyError, TypeError):
        raise UserError(f"{where}, is not a row of the manifest: restore it with git") from None
