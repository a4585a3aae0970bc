"""Archives and folders as streams of checked members; nothing is ever extracted to disk."""

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kdx2i import bounds
from kdx2i.errors import UserError
from kdx2i.foreign import open_plain, read_plain, refusing

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_LIKE_IMAGES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".avif",
     ".heic", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".svg")
)  # fmt: skip
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # LZMA takes as much memory as a file says


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may ask for: bytes of a member, bytes and members in all, unpacked : packed.

    The ratio is looked at only above `ratio_from` bytes: small files may compress very well.
    """

    member_bytes: int = bounds.MEMBER_BYTES
    total_bytes: int = bounds.ARCHIVE_BYTES
    members: int = bounds.ARCHIVE_MEMBERS
    ratio: int = bounds.UNPACKED_RATIO
    ratio_from: int = bounds.RATIO_FROM


DEFAULT_LIMITS = Limits()
Wanted = Callable[[str], bool]
"""Whether the member of a name is to be read: one that is not may be anything but badly named."""


def looks_like_image(name: str) -> bool:
    """Return whether a member's name is that of an image, and neither hidden nor an archive's file about a file."""
    path = PurePosixPath(name)
    return path.suffix.lower() in _LIKE_IMAGES and not any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _all(_: str) -> bool:
    return True


def read_members(path: Path, limits: Limits = DEFAULT_LIMITS, wanted: Wanted = _all) -> Iterator[tuple[str, bytes]]:
    """Yield (POSIX name, bytes) of the wanted files in a folder, .tar, .tar.gz, .tgz or .zip, one at a time.

    A name that is absolute or has `..` raises `UserError` that names the archive and the member; so does a wanted
    member that is a link or a device or has holes, whose name stands twice, and anything beyond `limits`.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if path.is_dir():
        members = _folder(path, limits, wanted)
    elif path.name.lower().endswith(TAR_SUFFIXES):
        members = _tar(path, limits, wanted)
    elif path.suffix.lower() == ".zip":
        members = _zip(path, limits, wanted)
    else:
        raise UserError(f"{path} is neither a folder nor a .tar, .tar.gz, .tgz or .zip archive")
    seen: set[str] = set()
    total = 0
    for name, data in members:
        total += len(data)
        if name in seen:
            raise UserError(f"{path} holds the member {name!r} twice: refused")
        seen.add(name)
        if len(seen) > limits.members or total > limits.total_bytes:
            raise UserError(f"{path} holds more files or bytes than a dataset may: refused at {name!r}")
        yield name, data


def _safe_name(name: str, path: Path) -> str:
    """Return a member's name without a leading `./`, or raise if it could leave the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    drive = len(name) > 1 and name[1] == ":"
    if name.startswith("/") or drive or ".." in parts or "\\" in name or "\0" in name or not parts:
        raise UserError(f"{path} holds the member {name!r}, whose name leaves the archive: refused")
    return "/".join(parts)


def _check_size(size: int, name: str, path: Path, limits: Limits) -> None:
    if size > limits.member_bytes:
        raise UserError(f"{path} holds the member {name!r} of {size} bytes, which is too large: refused")


def _folder(path: Path, limits: Limits, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield the files below a folder, by name; a folder that is a link is refused whatever it is called."""
    for folder, folders, files in os.walk(path, followlinks=False):
        folders.sort()
        parent = Path(folder)
        for name in sorted([*files, *(entry for entry in folders if (parent / entry).is_symlink())]):
            file = parent / name
            member = file.relative_to(path).as_posix()
            if not wanted(member) and not file.is_dir():
                continue
            if file.is_symlink() or not file.is_file():
                raise _not_a_file(path, member)
            _check_size(file.stat().st_size, member, path, limits)
            yield member, read_plain(file, limits.member_bytes)


def zip_entries(
    archive: zipfile.ZipFile, path: Path, limits: Limits = DEFAULT_LIMITS, wanted: Wanted = looks_like_image
) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield (POSIX name, entry) of the files of an open zip archive in its order, each checked, none read.

    A member that is not wanted and would be refused is left out. `\\` in a name, which some programs for Windows
    write, is `/`.
    """
    if len(archive.infolist()) > limits.members:
        raise UserError(f"{path} holds more files than a dataset may: refused")
    for info in archive.infolist():
        stated = info.orig_filename.replace("\\", "/")
        if stated.endswith("/"):
            continue
        name = _safe_name(stated, path)
        try:
            _check_entry(info, name, path, limits)
        except UserError:
            if wanted(name):
                raise
            continue
        yield name, info


def _check_entry(info: zipfile.ZipInfo, name: str, path: Path, limits: Limits) -> None:
    """Raise `UserError` for a member of a zip archive that cannot be read, is too large or is no file."""
    mode = info.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise _not_a_file(path, name)
    if info.flag_bits & 1:
        raise UserError(f"{path} holds the member {name!r}, which is encrypted: unpack it first")
    if info.compress_type not in _PACKINGS:
        raise UserError(f"{path} holds the member {name!r}, which is not packed by deflate or bzip2: pack it anew")
    _check_size(info.file_size, name, path, limits)
    if info.file_size > limits.ratio_from and info.file_size > limits.ratio * info.compress_size:
        raise _bomb(path, limits)


def _zip(path: Path, limits: Limits, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a zip archive in its order."""
    with readable(path), open_plain(path) as raw, zipfile.ZipFile(raw) as archive:
        for name, info in zip_entries(archive, path, limits, wanted):
            if wanted(name):
                with archive.open(info) as handle:
                    yield name, handle.read(info.file_size)


def _tar(path: Path, limits: Limits, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a tar archive in its order, read once from front to back."""
    with readable(path), open_plain(path) as raw:
        packed = path.suffix.lower() in (".gz", ".tgz")
        unpacked = gzip.GzipFile(fileobj=raw) if packed else raw
        meter = _Meter(unpacked, raw, path, limits)
        with tarfile.open(fileobj=meter, mode="r|") as archive:
            for info in archive:
                name = "" if info.isdir() else _safe_name(info.name, path)
                if not name or not wanted(name):
                    meter.allow(info.size)
                    continue
                if not info.isreg() or info.issparse():
                    raise _not_a_file(path, name)
                _check_size(info.size, name, path, limits)
                handle = archive.extractfile(info)
                data = handle.read() if handle is not None else b""
                if len(data) != info.size:
                    raise UserError(f"{path} is cut off in the member {name!r}")
                yield name, data
                meter.allow()
        if any(meter.tail):
            # tarfile takes a file that ends between two members for a whole one.
            raise UserError(f"{path} is cut off: its end mark is missing")


class _Meter(io.RawIOBase):
    """A reader that counts what comes out of a decompressor and stops a bomb while it unpacks.

    Between two members at most one member and its headers may be read, so that a header cannot ask for
    more memory than that.
    """

    def __init__(self, unpacked: io.BufferedIOBase, raw: io.BufferedIOBase, path: Path, limits: Limits) -> None:
        super().__init__()
        self._unpacked, self._raw, self._path, self._limits = unpacked, raw, path, limits
        self._total = 0
        self.tail = b""
        self.allow()

    def allow(self, skipped: int = 0) -> None:
        """Allow one more member to be read, after one of `skipped` bytes that is passed over."""
        self._stop = self._total + skipped + self._limits.member_bytes + bounds.HEADER_BYTES

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes (a negative size reads one block)."""
        data = self._unpacked.read(size if size >= 0 else 2**16)
        self._total += len(data)
        self.tail = (self.tail + data)[-tarfile.BLOCKSIZE :]
        limits = self._limits
        swollen = self._total > limits.ratio_from and self._total > limits.ratio * max(self._raw.tell(), 1)
        if swollen or self._total > self._stop or self._total > limits.total_bytes:
            raise _bomb(self._path, limits)
        return data


def _not_a_file(path: Path, name: str) -> UserError:
    return UserError(f"{path} holds the member {name!r}, which is a link, has holes or is no plain file: refused")


def _bomb(path: Path, limits: Limits) -> UserError:
    return UserError(
        f"{path} unpacks to more than a dataset may (a member above {limits.member_bytes} bytes, or "
        f"{limits.ratio} times the archive's size): refused"
    )


def readable(path: Path) -> AbstractContextManager[None]:
    """Turn the libraries' errors about a broken archive into one sentence."""
    return refusing(f"{path} is not a readable archive, or it is cut off")
