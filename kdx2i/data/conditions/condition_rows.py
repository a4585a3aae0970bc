"""The table of a split's condition files, `conditions.csv`, beside its `split.csv`."""

import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

from kdx2i.config import ConditionKind
from kdx2i.data.rows import read_table
from kdx2i.errors import UserError
from kdx2i.files import write_csv

CONDITION_TABLE = "conditions.csv"
CONDITIONS = "conditions"
COLUMNS = ("image", "kind", "file", "sha256")
KINDS: tuple[ConditionKind, ...] = get_args(ConditionKind)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ConditionRow:
    """One condition file of a split.

    `image` is the path of its image in `split.csv`; empty for the one file that describes all of a kind, such as
    the names of the labels. `file` is its path below the dataset's folder (POSIX). `sha256` is the checksum that
    `files.checksum` takes of it: of the bytes, but of the label numbers of a label map.
    """

    image: str
    kind: ConditionKind
    file: str
    sha256: str

    @property
    def order(self) -> tuple[str, str, str]:
        """The row's place in the table: by kind, then by image, then by file."""
        return (self.kind, self.image, self.file)


def write_condition_rows(path: Path, rows: Iterable[ConditionRow]) -> None:
    """Write `conditions.csv` atomically, sorted by kind, image and file."""
    ordered = sorted(rows, key=lambda row: row.order)
    write_csv(path, COLUMNS, [dict(zip(COLUMNS, astuple(row), strict=True)) for row in ordered])


def read_condition_rows(path: Path) -> list[ConditionRow]:
    """Read `conditions.csv`; a missing or malformed table raises `UserError` naming the file and the line."""
    return read_table(path, COLUMNS, _row)


def _row(values: list[str], where: str) -> ConditionRow:
    """Build one row, refusing a file whose path leaves the folder of conditions."""
    if len(values) != len(COLUMNS):
        raise UserError(f"{where}: {len(values)} values instead of {len(COLUMNS)}")
    image, kind_text, file, sha256 = values
    kind = next((kind for kind in KINDS if kind == kind_text), None)
    parts = PurePosixPath(file).parts
    if kind is None:
        raise UserError(f"{where}: the kind is {kind_text!r}, not one of {', '.join(KINDS)}")
    if not parts or parts[0] != CONDITIONS or ".." in parts or "\\" in file or "\0" in file:
        raise UserError(f"{where}: the file {file!r} does not lie in the folder {CONDITIONS}")
    if not _SHA256.fullmatch(sha256):
        raise UserError(f"{where}: {sha256!r} is no SHA-256")
    return ConditionRow(image, kind, file, sha256)
