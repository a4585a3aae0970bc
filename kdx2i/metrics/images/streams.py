"""Images to be scored: a folder or a zip archive, flat or one sub-folder a class, or a tensor; decoded as a stream."""

import os
import threading
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kdx2i.data.archive import readable
from kdx2i.data.decode import MAX_IMAGE_BYTES, decode_image, is_large
from kdx2i.data.image_kinds import Alpha
from kdx2i.data.images import pixel_store
from kdx2i.errors import UserError
from kdx2i.foreign import read_plain
from kdx2i.metrics.images.listing import IMAGE_FORMATS, Listing, list_images

# Decoded ahead of their use: at most so many images, and so many bytes if each is as large as the largest so far.
_AHEAD_IMAGES = 64
_AHEAD_BYTES = 256 * 2**20
_BLOCK_BYTES = 256 * 2**20
_FIRST_AHEAD = 4  # before any size is known


class Images(Protocol):
    """Images that come in blocks, in one order, as often as they are asked for."""

    def __len__(self) -> int:
        """Return the number of images."""

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield (position of the first, up to `size` images uint8 (3, H, W)), in order."""


@dataclass(frozen=True)
class TensorImages:
    """Images in memory or mapped from a file: uint8 (N, 3, H, W), with their class indices int64 (N,).

    With `chosen` int64 (M,) they are those of the images at these places, in that order, and so are the labels (M,).
    """

    images: Tensor
    labels: Tensor
    chosen: Tensor | None = None

    def __len__(self) -> int:
        return self.images.shape[0] if self.chosen is None else self.chosen.shape[0]

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield (position of the first, up to `size` images uint8 (3, H, W)), in order."""
        for start in range(0, len(self), size):
            place = slice(start, start + size)
            yield start, list(self.images[place] if self.chosen is None else self.images[self.chosen[place]])

    def where(self, index: Tensor) -> "TensorImages":
        """Return the images that a boolean mask (M,) or an index selects; no pixel is copied."""
        chosen = torch.arange(len(self)) if self.chosen is None else self.chosen
        return TensorImages(self.images, self.labels[index], chosen[index])

    def pixels(self) -> Tensor:
        """Return all images, uint8 (M, 3, H, W), in one tensor (`pixel_store`); do not write into it."""
        if self.chosen is None:
            return self.images
        into = pixel_store((len(self), *self.images.shape[1:]))
        return torch.index_select(self.images, 0, self.chosen, out=into)


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


class ImageFiles:
    """The images of a listing, decoded when they are asked for; `alpha` says what becomes of transparency.

    `labels` int64 (N,) index `classes` and are all 0 for flat images. `remarks` holds what is remarkable of the files
    (`kdx2i.data.image_kinds`) and the positions of those of which it is true; one pass over `blocks` completes it.
    """

    def __init__(self, listing: Listing, alpha: Alpha = "white") -> None:
        self.listing, self.alpha = listing, alpha
        self.path, self.names, self.classes = listing.path, listing.names, listing.classes
        self.labels = torch.tensor(listing.labels, dtype=torch.int64)
        self.remarks: dict[str, set[int]] = {}

    @property
    def source(self) -> str:
        """Return the place as the user gave it."""
        return str(self.path)

    def __len__(self) -> int:
        return len(self.names)

    def blocks(self, size: int) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield (position of the first, up to `size` images uint8 (3, H, W) of any sizes), in order.

        A block of large images is shorter. Threads decode a bounded number of images ahead. A file that is
        unreadable, cut off or too large raises `UserError` naming it.
        """
        block: list[Tensor] = []
        for position, image in enumerate(self._decoded()):
            block.append(image)
            full = len(block) == size or sum(one.numel() for one in block) >= _BLOCK_BYTES
            if full or position == len(self) - 1:
                yield position + 1 - len(block), block
                block = []

    def _decoded(self) -> Iterator[Tensor]:
        """Yield every image in order, decoded ahead by threads."""
        pending: deque[Future[tuple[Tensor, frozenset[str]]]] = deque()
        one_large_at_a_time = threading.Lock()
        waiting = iter(self.names)
        ahead, largest = _FIRST_AHEAD, 1
        with self._reader() as read:

            def decode(name: str) -> tuple[Tensor, frozenset[str]]:
                data, shown = read(name), f"{self.path}/{name}"
                with one_large_at_a_time if is_large(data, IMAGE_FORMATS) else nullcontext():
                    pixels, remarks = decode_image(data, shown, IMAGE_FORMATS, self.alpha)
                    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1), remarks

            pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="decode")
            try:
                for position in range(len(self)):
                    while len(pending) < ahead and (name := next(waiting, None)) is not None:
                        pending.append(pool.submit(decode, name))
                    image, remarks = pending.popleft().result()
                    for remark in remarks:
                        self.remarks.setdefault(remark, set()).add(position)
                    largest = max(largest, image.numel())
                    ahead = max(1, min(_AHEAD_IMAGES, _AHEAD_BYTES // largest))
                    yield image
            finally:
                pool.shutdown(cancel_futures=True)

    @contextmanager
    def _reader(self) -> Iterator[Callable[[str], bytes]]:
        """Yield a function from a name to the bytes of its file, safe to call from several threads."""
        if not self.listing.entries:
            yield self._read_file
            return
        with readable(self.path):
            archive = zipfile.ZipFile(self.path)
        with archive:

            def read(name: str) -> bytes:
                info = self.listing.entries[f"{self.listing.around}{name}"]
                try:
                    with archive.open(info) as handle:
                        return handle.read(info.file_size)
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
                    raise UserError(f"{self.path} holds {name}, which cannot be read: {error}") from None

            yield read

    def _read_file(self, name: str) -> bytes:
        """Return the bytes of a file of a folder, at most `MAX_IMAGE_BYTES`."""
        file = self.path / self.listing.around / name
        return read_plain(
            file, MAX_IMAGE_BYTES, larger=f"is larger than {MAX_IMAGE_BYTES} bytes: refused before decoding"
        )


def open_images(path: Path, alpha: Alpha = "white") -> ImageFiles:
    """Return the images of a folder or .zip archive, listed but not yet read; errors as in `list_images`."""
    return ImageFiles(list_images(path), alpha)
