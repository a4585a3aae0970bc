"""Features on disk, found by the pixels that they are of and by the extractor, never by a path.

A pack is one safetensors file, `<extractor key>-<part of its SHA-256>.safetensors`: `pixels` uint8 (n, 32), the
SHA-256 of each image, then float32 tables (n, width), `features` and, where the network has them, `logits`. It is
written whole, with the SHA-256 of its data, and never changed. A pack that has other bytes counts as absent.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.files import replacing
from kdx2i.foreign import open_plain
from kdx2i.metrics.images.stored_matrix import StoredMatrix

_BLOCK_BYTES = 4 * 2**20  # of a pack in memory at a time
_PIXELS_BYTES = 32
_HEADER_BYTES = 2**16


class FeatureStore:
    """The packs of one extractor in a folder; `widths` maps the name of each table to the numbers in its rows."""

    def __init__(self, folder: Path, key: str, widths: Mapping[str, int]) -> None:
        self._folder, self._key, self._widths = folder, key, dict(widths)
        self._index: dict[bytes, tuple[_Pack, int]] = {}
        for path in sorted(folder.glob(f"{key}-*.safetensors")):
            pack = _Pack(path, self._widths)
            for row, pixels in enumerate(pack.read_pixels()):
                self._index[pixels] = pack, row

    def __contains__(self, pixels: bytes) -> bool:
        return pixels in self._index

    def find(self, pixels: bytes) -> list[Tensor]:
        """Return the row of an image that is here, one float32 (1, width) a table."""
        pack, row = self._index[pixels]
        return [table[row : row + 1] for table in pack.tables]

    def add(self, images: Mapping[bytes, int], tables: Sequence[StoredMatrix]) -> None:
        """Write a pack with the rows of `tables` that belong to images, given as {SHA-256: row}."""
        if not images:
            return
        layout = _layout(len(images), self._widths)
        digest = hashlib.sha256()
        for part in _data(images, tables):
            digest.update(part)
        header = json.dumps({"__metadata__": {"sha256": digest.hexdigest()}, **layout}).encode()
        header += b" " * (-len(header) % 8)
        path = self._folder / f"{self._key}-{digest.hexdigest()[:16]}.safetensors"
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.writelines(_data(images, tables))


def _layout(count: int, widths: Mapping[str, int]) -> dict[str, dict[str, object]]:
    """Return the safetensors header of a pack of `count` images."""
    end = _PIXELS_BYTES * count
    layout: dict[str, dict[str, object]] = {}
    layout["pixels"] = {"dtype": "U8", "shape": [count, _PIXELS_BYTES], "data_offsets": [0, end]}
    for name, width in widths.items():
        start, end = end, end + 4 * width * count
        layout[name] = {"dtype": "F32", "shape": [count, width], "data_offsets": [start, end]}
    return layout


def _data(images: Mapping[bytes, int], tables: Sequence[StoredMatrix]) -> Iterator[bytes]:
    """Yield the data of a pack in blocks."""
    yield b"".join(images)
    index = torch.tensor(list(images.values()))
    for table in tables:
        for part in torch.split(index, max(1, _BLOCK_BYTES // (4 * table.shape[1]))):
            yield table.take(part).contiguous().numpy().astype("<f4").tobytes()


class _Pack:
    """One file of the store."""

    def __init__(self, path: Path, widths: Mapping[str, int]) -> None:
        self._path, self._widths = path, widths
        self._count = self._start = 0

    def read_pixels(self) -> list[bytes]:
        """Return the SHA-256 of each image's pixels, none when the file is not what was written."""
        try:
            with open_plain(self._path) as file:
                size = os.fstat(file.fileno()).st_size
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length)) if length <= _HEADER_BYTES else {}
                sha256 = header.pop("__metadata__", {}).get("sha256")
                self._start = 8 + length
                self._count = header["pixels"]["shape"][0]
                # The file states how many images it has: no more is read than lies in it.
                if type(self._count) is not int or not 0 <= _PIXELS_BYTES * self._count <= size:
                    return []
                pixels = file.read(_PIXELS_BYTES * self._count)
                digest = hashlib.sha256(pixels)
                while part := file.read(_BLOCK_BYTES):
                    digest.update(part)
        except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            return []
        if digest.hexdigest() != sha256 or header != _layout(self._count, self._widths):
            return []
        return [pixels[start : start + _PIXELS_BYTES] for start in range(0, len(pixels), _PIXELS_BYTES)]

    @cached_property
    def tables(self) -> list[StoredMatrix]:
        """Return the tables, read from the file when they are sliced."""
        file = self._path.open("rb", buffering=0)
        start = self._start + _PIXELS_BYTES * self._count
        tables = []
        for width in self._widths.values():
            tables.append(StoredMatrix.within(file, start, (self._count, width)))
            start += 4 * width * self._count
        return tables
