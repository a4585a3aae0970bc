"""The images of a split as tensors: decoded once, bounded, resized with antialiasing."""

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from kdx2i.data.decode import pixels_sha256, read_rgb
from kdx2i.data.rows import ImageRow, Selection, Split
from kdx2i.errors import UserError

__all__ = ["CACHE_BYTES", "ImageSet", "Split", "load_images", "load_roles", "pixel_store"]

CACHE_BYTES = 2 * 2**30
"""Pixels that are held in memory at most; more are mapped from a file."""
MAX_SIDE = 4096
DECODERS = min(8, os.cpu_count() or 1)
"""Threads that decode the images of a batch: Pillow and the checksum of pixels leave the interpreter to others."""
_AT_A_TIME = 256


def pixel_store(shape: Sequence[int], *, memory_bytes: int | None = None) -> Tensor:
    """Return a tensor uint8 of a shape for pixels, in memory where it takes at most `memory_bytes` (`CACHE_BYTES`).

    A larger one is mapped from a file without a name in the folder for temporary files (TMPDIR), whose pages the
    system holds in memory as long as nothing else needs it. `OSError` where the disk has no room for it.
    """
    size = prod(shape)
    if size <= (CACHE_BYTES if memory_bytes is None else memory_bytes):
        return torch.empty(tuple(shape), dtype=torch.uint8)
    with tempfile.TemporaryFile(prefix="kdx2i-pixels-") as handle:
        os.posix_fallocate(handle.fileno(), 0, size)  # Else a full disk would end the process when it is written to.
        return torch.from_numpy(np.memmap(handle, np.uint8, "r+", shape=tuple(shape)))


class ImageSet(Dataset[tuple[Tensor, int]]):
    """The images of one role of a split, decoded when they are asked for.

    `images[i]` is (uint8 tensor (3, size, size), class index). Each image is decoded once and kept: in memory where
    the whole set takes at most `cache_bytes` decoded (None: `CACHE_BYTES`), else in a mapped file (`pixel_store`).
    Where the disk has no room for that, and with `cache_bytes` 0, images are decoded again at each visit. The first
    use of a file compares its pixels with the table, and a missing, broken or changed file raises `UserError` naming
    it. A cached set belongs in the loading process: each worker process would fill a cache of its own.
    """

    def __init__(self, split: Split, role: Selection, size: int, *, cache_bytes: int | None = None) -> None:
        if not 1 <= size <= MAX_SIDE:
            raise UserError(f"the size {size} is not between 1 and {MAX_SIDE} pixels")
        self.rows = split.select(role)
        self.size = size
        self._folder = split.dataset_dir
        index = {label: number for number, label in enumerate(split.classes)}
        self.labels = torch.tensor([index[row.label] for row in self.rows], dtype=torch.int64)
        self._known = np.zeros(len(self.rows), dtype=bool)
        self._cache: Tensor | None = None
        if cache_bytes != 0:
            with suppress(OSError):
                self._cache = pixel_store((len(self.rows), 3, size, size), memory_bytes=cache_bytes)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image `index` as (uint8 (3, size, size), class index); do not write into it."""
        label = int(self.labels[index])
        if self._cache is not None and self._known[index]:
            return self._cache[index], label
        image = load_image(self._folder, self.rows[index], self.size, verify=not self._known[index])
        if self._cache is not None:
            self._cache[index] = image
            image = self._cache[index]
        self._known[index] = True
        return image, label

    def fetch(self, indices: Tensor) -> Tensor:
        """Return the images of indices int64 (B,), uint8 (B, 3, size, size); each is decoded once if the set fits."""
        return torch.stack(self._images(indices.tolist()))

    def stack(self) -> Tensor:
        """Return all images in order, uint8 (N, 3, size, size); do not write into it."""
        images = self._images(range(len(self)))
        return torch.stack(images) if self._cache is None else self._cache

    def _images(self, places: Sequence[int]) -> list[Tensor]:
        """Return images uint8 (3, size, size); what has to be decoded is decoded side by side."""
        kept = np.zeros_like(self._known) if self._cache is None else self._known
        wanted = [place for place in dict.fromkeys(places) if not kept[place]]
        if len(wanted) < 2 or DECODERS < 2:
            return [self[place][0] for place in places]
        with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
            decoded = dict(zip(wanted, pool.map(self.__getitem__, wanted), strict=True))
        return [(decoded[place] if place in decoded else self[place])[0] for place in places]


def load_image(folder: Path, row: ImageRow, size: int, *, verify: bool = True) -> Tensor:
    """Decode one image of a split to uint8 (3, size, size).

    The image is resized to a square whatever its shape, with Pillow's antialiased bilinear filter, as
    StarGANv2's loader does. `verify` compares the decoded pixels with the table.
    """
    path = folder / row.image
    image = read_rgb(path)
    if verify and pixels_sha256(image) != row.pixels_sha256:
        raise UserError(f"{path} does not have the pixels that its split states: run `kdx2i split` again")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def load_images(split: Split, role: Selection, size: int) -> tuple[Tensor, Tensor]:
    """Return the images of a role, uint8 (N, 3, size, size), and their class indices, int64 (N,).

    The order is that of `split.rows`. Pixels are in memory, or mapped from a file (`pixel_store`).
    """
    images = ImageSet(split, role, size)
    return images.stack(), images.labels


def load_roles(split: Split, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the training and then the test images of a split, as `load_images` does, and bool (N,) for test images."""
    roles = [ImageSet(split, role, size, cache_bytes=0) for role in ("train", "test")]
    pixels = pixel_store((sum(map(len, roles)), 3, size, size))
    for images, into in zip(roles, torch.split(pixels, [len(images) for images in roles]), strict=True):
        for part in torch.split(torch.arange(len(images)), _AT_A_TIME):
            into[part] = images.fetch(part)
    is_test = torch.arange(len(pixels)) >= len(roles[0])
    return pixels, torch.cat([images.labels for images in roles]), is_test
