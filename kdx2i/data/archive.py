"""Archives and folders as streams of checked members; nothing is ever extracted to disk."""

import gzip
import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kdx2i.errors import UserError

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may ask for: bytes of a member, bytes and members in all, unpacked : packed.

    The ratio is looked at only above `ratio_from` bytes: small files may compress very well.
    """

    member_bytes: int = 64 * 2**20
    total_bytes: int = 256 * 2**30
    members: int = 5_000_000
    ratio: int = 200
    ratio_from: int = 8 * 2**20


DEFAULT_LIMITS = Limits()


def read_members(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[tuple[str, bytes]]:
    """Yield (POSIX name, bytes) of every file in a folder, .tar, .tar.gz, .tgz or .zip, one at a time.

    A member with an absolute name, `..`, a link or a device, a name that stands twice, and anything
    beyond `limits` raises `UserError` that names the archive and the member.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if path.is_dir():
        members = _folder(path, limits)
    elif path.name.lower().endswith(TAR_SUFFIXES):
        members = _tar(path, limits)
    elif path.suffix.lower() == ".zip":
        members = _zip(path, limits)
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


def _folder(path: Path, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Yield the files below a folder, by name."""
    for folder, folders, files in os.walk(path, followlinks=False):
        folders.sort()
        parent = Path(folder)
        for name in sorted([*files, *(entry for entry in folders if (parent / entry).is_symlink())]):
            file = parent / name
            member = file.relative_to(path).as_posix()
            if file.is_symlink() or not file.is_file():
                raise _not_a_file(path, member)
            _check_size(file.stat().st_size, member, path, limits)
            try:
                yield member, file.read_bytes()
            except OSError as error:
                raise UserError(f"{file} cannot be read: {error.strerror}") from None


def zip_entries(
    archive: zipfile.ZipFile, path: Path, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield (POSIX name, entry) of every file of an open zip archive in its order, each checked, none read."""
    for info in archive.infolist():
        if info.is_dir():
            continue
        name = _safe_name(info.orig_filename, path)
        mode = info.external_attr >> 16
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise _not_a_file(path, name)
        if info.flag_bits & 1:
            raise UserError(f"{path} holds the member {name!r}, which is encrypted: unpack it first")
        _check_size(info.file_size, name, path, limits)
        if info.file_size > limits.ratio_from and info.file_size > limits.ratio * info.compress_size:
            raise _bomb(path, limits)
        yield name, info


def _zip(path: Path, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a zip archive in its order."""
    with readable(path), zipfile.ZipFile(path) as archive:
        for name, info in zip_entries(archive, path, limits):
            with archive.open(info) as handle:
                yield name, handle.read(info.file_size)


def _tar(path: Path, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a tar archive in its order, read once from front to back."""
    with readable(path), path.open("rb") as raw:
        packed = path.suffix.lower() in (".gz", ".tgz")
        unpacked = gzip.GzipFile(fileobj=raw) if packed else raw
        meter = _Meter(unpacked, raw, path, limits)
        with tarfile.open(fileobj=meter, mode="r|") as archive:
            for info in archive:
                if info.isdir():
                    meter.allow()
                    continue
                name = _safe_name(info.name, path)
                if not info.isreg():
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

    def allow(self) -> None:
        """Allow one more member to be read."""
        self._stop = self._total + self._limits.member_bytes + 2**20

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
    return UserError(f"{path} holds the member {name!r}, which is a link or no plain file: refused")


def _bomb(path: Path, limits: Limits) -> UserError:
    return UserError(
        f"{path} unpacks to more than a dataset may (a member above {limits.member_bytes} bytes, or "
        f"{limits.ratio} times the archive's size): refused"
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the libraries' errors about a broken archive into one sentence."""
    broken = (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, OSError)
    try:
        yield
    except (*broken, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} is not a readable archive, or it is cut off: {error}") from None
