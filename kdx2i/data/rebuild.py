"""Rebuild the pack of drawings from the published npm packages, and compare it with the one that ships."""

import csv
import json
import lzma
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from kdx2i.data.archive import Limits, read_members
from kdx2i.data.manifest import read_manifest
from kdx2i.data.pack import icon_line, parse_icon, read_verified, unpacked_lines
from kdx2i.data.svg import Icon
from kdx2i.errors import UserError
from kdx2i.files import replacing, sha256_file

PACKAGES = "packages.csv"
PACKS = {False: "icons.jsonl.xz", True: "icons-sa.jsonl.xz"}
PACKAGE_LIMITS = Limits(member_bytes=256 * 2**20, total_bytes=2**30)
DOWNLOAD_SECONDS = 600
_PLACING = {"left", "top", "rotate", "hFlip", "vFlip"}
_SKIN_TONE = re.compile(r"-(medium-light|medium-dark|light|medium|dark)(-skin-tone)?$")


@dataclass(frozen=True, slots=True)
class Package:
    """A published package of drawings: its set, npm name and version, the SHA-256 of its archive."""

    set: str
    package: str
    version: str
    sha256: str

    @property
    def archive(self) -> str:
        """The file name that `npm pack` gives it."""
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


@dataclass(frozen=True, slots=True)
class PackReport:
    """How a rebuilt pack compares with the shipped one.

    `differing` names the drawings that differ, are missing, are new or stand elsewhere. `same_bytes` also
    compares the compressed files, which another version of liblzma may write differently.
    """

    file: str
    drawings: int
    differing: tuple[str, ...]
    same_bytes: bool

    @property
    def identical(self) -> bool:
        """Whether every line is the same, in the same order."""
        return not self.differing


def read_packages(path: Path) -> list[Package]:
    """Read the table of packages (`packages.csv`); a broken one raises `UserError`."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        return [Package(row["set"], row["package"], row["version"], row["sha256"]) for row in rows]
    except (OSError, KeyError, UnicodeDecodeError):
        raise UserError(f"{path} is not a readable table of packages: restore it with git") from None


def download_packages(catalogue: Path, folder: Path) -> dict[str, Path]:
    """Fetch the packages of `packages.csv` with `npm pack` into `folder` and return their places by set.

    An archive that is there already is not fetched again; each is compared with its checksum.
    """
    npm = shutil.which("npm")
    folder.mkdir(parents=True, exist_ok=True)
    for package in read_packages(catalogue):
        if (folder / package.archive).exists():
            continue
        if npm is None:
            raise UserError(f"npm is not installed: install it, or put {package.archive} into {folder}")
        name = f"{package.package}@{package.version}"
        command = [npm, "pack", "--silent", "--pack-destination", str(folder), name]
        try:
            subprocess.run(command, check=True, timeout=DOWNLOAD_SECONDS, capture_output=True, text=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            raise UserError(f"npm could not fetch {name}: put {package.archive} into {folder}") from None
    return find_packages(catalogue, folder)


def find_packages(catalogue: Path, folder: Path) -> dict[str, Path]:
    """Return the places of the packages of `packages.csv` below `folder`, by set.

    A package is the archive that `npm pack` writes, which is compared with its checksum, or a folder with
    the set's name that holds its `icons.json`.
    """
    places: dict[str, Path] = {}
    for package in read_packages(catalogue):
        archive, unpacked = folder / package.archive, folder / package.set
        if archive.exists():
            if sha256_file(archive) != package.sha256:
                raise UserError(f"{archive} is not the published package: its SHA-256 differs from {catalogue}")
            places[package.set] = archive
        elif unpacked.is_dir():
            places[package.set] = unpacked
        else:
            raise UserError(f"{folder} holds neither {package.archive} nor a folder {package.set}")
    return places


def rebuild_pack(
    packages: Mapping[str, Path], manifest: Path, out: Path, *, shipped: Path | None = None
) -> list[PackReport]:
    """Write both packs into the folder `out` from the packages, and compare them with the shipped ones.

    `packages` maps a set to its npm archive (.tgz) or a folder with its `icons.json`; the manifest says
    which drawings are taken. `shipped` is the folder of the packs to compare with (the manifest's).
    """
    shipped = shipped or manifest.parent
    if out.resolve() == shipped.resolve():
        raise UserError(f"{out} holds the shipped pack: choose another folder for the rebuilt one")
    names: dict[bool, dict[str, set[str]]] = {False: defaultdict(set), True: defaultdict(set)}
    for row in read_manifest(manifest, None):
        names[row.share_alike][row.set].add(row.name)
    reports = []
    for share_alike, file in PACKS.items():
        if names[share_alike]:
            _write_pack(_lines(packages, names[share_alike]), out / file)
            reports.append(_compare(out / file, shipped / file))
    return reports


def _lines(packages: Mapping[str, Path], names: Mapping[str, set[str]]) -> Iterator[bytes]:
    """Yield the lines of a pack: by set, then by name, skin tones right after their untoned drawing."""
    for set_name in sorted(names):
        if set_name not in packages:
            raise UserError(f"the package of the set {set_name} is missing")
        package = _read_package(packages[set_name], set_name)
        for name in sorted(names[set_name], key=lambda name: (_SKIN_TONE.sub("", name), name)):
            yield icon_line(_icon(package, set_name, name))


def _read_package(path: Path, set_name: str) -> dict[str, Any]:
    """Return the `icons.json` of a package; nothing is extracted to disk."""
    for name, data in read_members(path, PACKAGE_LIMITS):
        if name in ("package/icons.json", "icons.json"):
            try:
                package = json.loads(data)
            except ValueError:
                package = None
            if not isinstance(package, dict) or not isinstance(package.get("icons"), dict):
                raise UserError(f"{path}: {name} is not a package of icons")
            if package.get("prefix") != set_name:
                raise UserError(f"{path} holds the set {package.get('prefix')!r}, not {set_name!r}")
            return package
    raise UserError(f"{path} holds no icons.json")


def _icon(package: Mapping[str, Any], set_name: str, name: str) -> Icon:
    """Return one drawing of a package with the size that it or its package states."""
    record = package["icons"].get(name)
    if not isinstance(record, dict) or not isinstance(record.get("body"), str):
        raise UserError(f"the package of the set {set_name} has no drawing {name!r}: is it the stated version?")
    if _PLACING & record.keys():
        raise UserError(f"the drawing {set_name}:{name} is shifted or turned, which the pack cannot say")
    sides = [record.get(side, package.get(side, 16)) for side in ("width", "height")]
    return Icon(set_name, name, sides[0], sides[1], record["body"])


def _write_pack(lines: Iterator[bytes], path: Path) -> None:
    """Write lines, without a line end after the last, as xz with the settings of the shipped pack."""
    with (
        replacing(path) as temporary,
        lzma.open(temporary, "wb", preset=9 | lzma.PRESET_EXTREME) as handle,
    ):
        for number, line in enumerate(lines):
            handle.write(line if number == 0 else b"\n" + line)


def _compare(rebuilt: Path, shipped: Path) -> PackReport:
    """Compare two packs line by line, and as bytes."""
    new_bytes, old_bytes = read_verified(rebuilt, None), read_verified(shipped, None)
    differing: list[str] = []
    drawings = 0
    pairs = zip_longest(unpacked_lines(new_bytes, rebuilt), unpacked_lines(old_bytes, shipped))
    for number, (new, old) in enumerate(pairs, start=1):
        drawings += new is not None
        if new != old:
            where = f"{rebuilt if new is not None else shipped}, line {number}"
            differing.append(parse_icon(new or old or b"", where).source)
    return PackReport(rebuilt.name, drawings, tuple(differing), new_bytes == old_bytes)
