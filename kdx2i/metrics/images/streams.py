"""Images to be scored: a folder or a zip archive, flat or one sub-folder a class, or a tensor; decoded as a stream."""

import os
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kdx2i.data.archive import readable, zip_entries
from kdx2i.data.decode import FORMATS, MAX_IMAGE_BYTES, SUFFIXES, decode_rgb
from kdx2i.errors import UserError

IMAGE_FORMATS = (*FORMATS, "TIFF", "PPM")
IMAGE_SUFFIXES = (*SUFFIXES, ".tif", ".tiff", ".ppm")
# Decoded ahead of their use: at most so many images, and so many bytes if each is as large as the largest so far.
_AHEAD_IMAGES = 64
_AHEAD_BYTES = 256 * 2**20
_FIRST_AHEAD = 4  # before any size is known


class Images(Protocol):
    """Images that come in blocks, in one order, as often as they are asked for."""

    def __len__(self) -> int:
        """Return the number of images."""

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield (position of the first, up to `size` images uint8 (3, H, W)), in order."""


@dataclass(frozen=True)
class TensorImages:
    """Images in memory: uint8 (N, 3, H, W), with their class indices int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield (position of the first, up to `size` images uint8 (3, H, W)), in order."""
        for start in range(0, len(self), size):
            yield start, list(self.images[start : start + size])


@dataclass(frozen=True)
class SelectedImages:
    """Some images of a stream: those of a boolean mask (N,) or of an ascending index (M,); all of it is decoded."""

    stream: Images
    index: Tensor

    def __len__(self) -> int:
        return len(self._positions())

    def _positions(self) -> list[int]:
        """Return the chosen positions, ascending."""
        chosen = torch.nonzero(self.index).flatten() if self.index.dtype == torch.bool else self.index
        positions: list[int] = chosen.tolist()
        return positions

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield (position of the first among the chosen, up to `size` images uint8 (3, H, W)), in order."""
        chosen = set(self._positions())
        position = 0
        for start, block in self.stream.blocks(size):
            images = [image for number, image in enumerate(block, start) if number in chosen]
            if images:
                yield position, images
                position += len(images)


@dataclass(frozen=True)
class ImageFiles:
    """The image files of a folder or zip archive, sorted by name; made by `open_images`.

    `names` are POSIX paths below `path`, without a folder around everything. `classes` are the sorted names of the
    sub-folders, none for flat images; `labels` int64 (N,) index them and are all 0 for flat images.
    """

    path: Path
    names: list[str]
    classes: list[str]
    labels: Tensor
    _around: str
    _entries: dict[str, zipfile.ZipInfo]

    @property
    def source(self) -> str:
        """Return the place as the user gave it."""
        return str(self.path)

    def __len__(self) -> int:
        return len(self.names)

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield (position of the first, up to `size` images uint8 (3, H, W) of any sizes), in order.

        Transparency is laid on white. Threads decode a bounded number of images ahead. A file that is unreadable,
        cut off or too large raises `UserError` naming it.
        """
        block: list[Tensor] = []
        for position, image in enumerate(self._decoded()):
            block.append(image)
            if len(block) == size or position == len(self) - 1:
                yield position + 1 - len(block), block
                block = []

    def _decoded(self) -> Iterator[Tensor]:
        """Yield every image in order, decoded ahead by threads."""
        pending: deque[Future[Tensor]] = deque()
        waiting = iter(self.names)
        ahead, largest = _FIRST_AHEAD, 1
        with self._reader() as read:

            def decode(name: str) -> Tensor:
                pixels = decode_rgb(read(name), f"{self.path}/{name}", IMAGE_FORMATS)
                return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)

            pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="decode")
            try:
                for _ in self.names:
                    while len(pending) < ahead and (name := next(waiting, None)) is not None:
                        pending.append(pool.submit(decode, name))
                    image = pending.popleft().result()
                    largest = max(largest, image.numel())
                    ahead = max(1, min(_AHEAD_IMAGES, _AHEAD_BYTES // largest))
                    yield image
            finally:
                pool.shutdown(cancel_futures=True)

    @contextmanager
    def _reader(self) -> Iterator[Callable[[str], bytes]]:
        """Yield a function from a name to the bytes of its file, safe to call from several threads."""
        if not self._entries:
            yield self._read_file
            return
        with readable(self.path):
            archive = zipfile.ZipFile(self.path)
        with archive:

            def read(name: str) -> bytes:
                info = self._entries[f"{self._around}{name}"]
                try:
                    with archive.open(info) as handle:
                        return handle.read(info.file_size)
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
                    raise UserError(f"{self.path} holds {name}, which cannot be read: {error}") from None

            yield read

    def _read_file(self, name: str) -> bytes:
        """Return the bytes of a file of a folder, at most `MAX_IMAGE_BYTES`."""
        file = self.path / self._around / name
        try:
            with file.open("rb") as handle:
                data = handle.read(MAX_IMAGE_BYTES + 1)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}") from None
        if len(data) > MAX_IMAGE_BYTES:
            raise UserError(f"{file} is larger than {MAX_IMAGE_BYTES} bytes: refused before decoding")
        return data


def open_images(path: Path) -> ImageFiles:
    """Return the images of a folder or .zip archive, listed but not yet read.

    They lie directly in it or in one sub-folder a class, not both; one folder that holds everything is passed
    through. Hidden files and files that are no images (by suffix) are ignored. `UserError` for a missing path,
    no image, mixed or deeper folders, and a zip archive with unsafe, encrypted, doubled or too large members.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    if path.is_dir():
        names = list(_files_below(path, ""))
    elif not path.exists():
        raise UserError(f"{path} does not exist: name a folder or .zip archive of images")
    elif path.suffix.lower() == ".zip":
        with readable(path), zipfile.ZipFile(path) as archive:
            for name, info in zip_entries(archive, path):
                if name in entries:
                    raise UserError(f"{path} holds the member {name!r} twice: refused")
                entries[name] = info
        names = list(entries)
    else:
        raise UserError(f"{path} is neither a folder nor a .zip archive of images")
    names = sorted((name for name in names if _is_image(name)), key=lambda name: name.split("/"))
    if not names:
        raise UserError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
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
    folders = [name.split("/")[0] for name in names] if 1 in depths else []
    classes = sorted(set(folders))
    index = {folder: label for label, folder in enumerate(classes)}
    labels = torch.tensor([index[folder] for folder in folders], dtype=torch.int64)
    return ImageFiles(
        path, names, classes, labels if classes else torch.zeros(len(names), dtype=torch.int64), around, entries
    )


def _is_image(name: str) -> bool:
    """Return whether a name is that of an image, and neither hidden nor an archive's file about a file."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return not hidden and name.lower().endswith(IMAGE_SUFFIXES)


def _files_below(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the POSIX names of the files at most four folders deep; links are followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from None
    for entry in entries:
        if entry.is_file():
            yield f"{prefix}{entry.name}"
        elif entry.is_dir() and prefix.count("/") < 4:
            yield from _files_below(Path(entry.path), f"{prefix}{entry.name}/")
