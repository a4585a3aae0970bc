"""The files of a folder or zip archive of images: which are scored, and which are left out. Torch-free."""

import os
import stat
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kdx2i.data.archive import readable, zip_entries
from kdx2i.data.image_kinds import FORMATS, SUFFIXES
from kdx2i.errors import UserError

IMAGE_FORMATS = (*FORMATS, "TIFF", "PPM")
IMAGE_SUFFIXES = (*SUFFIXES, ".jfif", ".jpe", ".tif", ".tiff", ".pbm", ".pgm", ".pnm", ".ppm")
_SYSTEM_FILES = (".ds_store", "thumbs.db", "desktop.ini")
_MOST_NAMED = 5
_DEEPEST = 8  # folders; deeper ones hold no set of images


@dataclass(frozen=True)
class LeftOut:
    """The files that are no images by their suffix, hidden ones among them; a system's own files do not count."""

    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def some(self) -> str:
        """Name the first few, and say how many more there are."""
        more = len(self) - _MOST_NAMED
        return ", ".join(self.names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")

    def describe(self) -> dict[str, Any]:
        """Return their number, their number by suffix, and the first names."""
        suffixes = Counter(PurePosixPath(name).suffix.lower() for name in self.names)
        return {"files": len(self), "suffixes": dict(sorted(suffixes.items())), "first": list(self.names[:_MOST_NAMED])}


@dataclass(frozen=True)
class Listing:
    """The image files of a folder or zip archive, sorted by name.

    `names` are POSIX paths below `path`, without a folder `around` everything. `classes` are the sorted names of the
    sub-folders in Unicode's normal form NFC, none for flat images; `labels` index them and are all 0 for flat images.
    `entries` are the members of an archive.
    """

    path: Path
    names: list[str]
    classes: list[str]
    labels: list[int]
    left_out: LeftOut
    around: str
    entries: dict[str, zipfile.ZipInfo]


def list_images(path: Path) -> Listing:
    """Return the images of a folder or .zip archive by their names.

    They lie directly in it or in one sub-folder a class, not both; one folder that holds everything is passed
    through. Files that are no images by suffix, and hidden ones, are left out. `UserError` for a missing path, no
    image, mixed or deeper folders, links that lead nowhere or in a circle, and a zip archive with unsafe, encrypted,
    doubled or too large members.
    """
    files, entries = _all_files(path)
    names = sorted((name for name in files if _is_image(name)), key=lambda name: name.split("/"))
    chosen = set(names)
    left_out = LeftOut(sorted(name for name in files if name not in chosen and not _is_of_a_system(name)))
    if not names:
        raise UserError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)}){_instead(left_out)}")
    around = f"{names[0].split('/')[0]}/"
    if not all(name.startswith(around) and name.count("/") == 2 for name in names):
        around = ""
    names = [name.removeprefix(around) for name in names]
    depths = {name.count("/"): name for name in names}
    if max(depths) > 1:
        raise UserError(f"{path} holds {depths[max(depths)]}, deeper than one sub-folder a class: move it up")
    if len(depths) > 1:
        raise UserError(
            f"{path} holds {depths[0]} directly and {depths[1]} in a sub-folder: use one way for all images"
        )
    classes, labels = _classes(path, [name.split("/")[0] for name in names]) if 1 in depths else ([], [0] * len(names))
    return Listing(path, names, classes, labels, left_out, around, entries)


def normal(name: str) -> str:
    """Return a name in Unicode's normal form NFC: some systems keep a letter with an accent as two characters."""
    return unicodedata.normalize("NFC", name)


def _classes(path: Path, folders: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the classes and the index of each image's folder in them; `UserError` for one name in two spellings."""
    spelled: dict[str, str] = {}
    for folder in folders:
        if spelled.setdefault(normal(folder), folder) != folder:
            raise UserError(
                f"{path} holds the folder {normal(folder)} twice, its accents kept in two ways of Unicode (NFC and "
                "NFD): put the images into one folder"
            )
    classes = sorted(spelled)
    index = {spelled[name]: label for label, name in enumerate(classes)}
    return classes, [index[folder] for folder in folders]


def _all_files(path: Path) -> tuple[list[str], dict[str, zipfile.ZipInfo]]:
    """Return the POSIX names of all files of a folder or zip archive, and the members of the archive."""
    entries: dict[str, zipfile.ZipInfo] = {}
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: name a folder or .zip archive of images") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read: {reason}") from None
    if stat.S_ISDIR(mode):
        return list(_files_below(path, "", ())), entries
    if not stat.S_ISREG(mode) or path.suffix.lower() != ".zip":
        raise UserError(f"{path} is neither a folder nor a .zip archive of images")
    with readable(path), zipfile.ZipFile(path) as archive:
        for name, info in zip_entries(archive, path):
            if name in entries:
                raise UserError(f"{path} holds the member {name!r} twice: refused")
            entries[name] = info
    return list(entries), entries


def _files_below(folder: Path, prefix: str, inside: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Yield the POSIX names of the files of a folder and below it; links are followed.

    `inside` are the (device, inode) of the folders that it lies in.
    """
    try:
        state = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from None
    here = (state.st_dev, state.st_ino)
    if here in inside:
        raise UserError(f"{folder} is a link to a folder that it lies in: remove it")
    broken = []
    for entry in entries:
        kind = _kind(entry)
        if kind == "folder" and prefix.count("/") < _DEEPEST:
            yield from _files_below(Path(entry.path), f"{prefix}{entry.name}/", (*inside, here))
        elif kind == "other" and _may_hold_images(entry.name):
            broken.append(entry)
        else:
            yield f"{prefix}{entry.name}"
    if broken:
        raise UserError(_lost(broken))


def _kind(entry: os.DirEntry[str]) -> str:
    """Return whether an entry is a `file`, a `folder` or something `other`: a link that leads nowhere, a device."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() else "other"
    except OSError:  # a circle of links
        return "other"


def _may_hold_images(name: str) -> bool:
    """Return whether what has this name would be an image, or a folder of them."""
    return not name.startswith(".") and (name.lower().endswith(IMAGE_SUFFIXES) or not PurePosixPath(name).suffix)


def _lost(broken: Sequence[os.DirEntry[str]]) -> str:
    """Say that images are missing from the folder because of its links."""
    first = broken[0]
    more = f" ({len(broken)} such files)" if len(broken) > 1 else ""
    if not first.is_symlink():
        return f"{first.path} is no plain file{more}: remove it"
    target = Path(first.path).readlink()
    return f"{first.path} is a link to {target}, where there is nothing to read{more}: mend the link or remove it"


def _is_image(name: str) -> bool:
    """Return whether a name is that of an image, and neither hidden nor an archive's file about a file."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return not hidden and name.lower().endswith(IMAGE_SUFFIXES)


def _is_of_a_system(name: str) -> bool:
    """Return whether a system or an archiver put a file there by itself."""
    *folders, last = name.split("/")
    return "__MACOSX" in folders or last.startswith("._") or last.lower() in _SYSTEM_FILES


def _instead(left_out: LeftOut) -> str:
    """Say what there is where no image is."""
    return f", but {left_out.some()}" if len(left_out) else ""
