"""Rows of numbers that need not fit in memory: a float32 matrix (n, d), in memory or in a file."""

import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

MEMORY_BYTES = 16 * 2**20  # a larger matrix lies in a file


class StoredMatrix:
    """A float32 matrix (n, d) read by slices; made from a tensor, by `blank` or by `within`.

    A matrix in a file is read by seek and read, not mapped: mapped pages would count as the program's memory.
    """

    def __init__(self, values: Tensor) -> None:
        self.shape = (values.shape[0], values.shape[1])
        self._memory: Tensor | None = values.float()
        self._file: BinaryIO | None = None
        self._offset = 0

    @classmethod
    def within(cls, file: BinaryIO, offset: int, shape: tuple[int, int]) -> "StoredMatrix":
        """Return the matrix of `shape` that starts at byte `offset` of an unbuffered file; it is kept open."""
        rows = cls(torch.empty(0, shape[1]))
        rows.shape, rows._memory, rows._file, rows._offset = shape, None, file, offset
        return rows

    @classmethod
    def blank(cls, shape: tuple[int, int], folder: Path | None = None) -> "StoredMatrix":
        """Return a matrix to be filled by `put`: in memory up to `MEMORY_BYTES`, else in a nameless file.

        The file lies in `folder` (or where temporary files do) and is gone with the object.
        """
        size = 4 * shape[0] * shape[1]
        if size <= MEMORY_BYTES:
            return cls(torch.zeros(shape))
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (it lives as long as the object)
        file.truncate(size)
        return cls.within(file, 0, shape)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice, /) -> Tensor:
        """Return rows as float32 (m, d); a slice of step 1. Do not write into it."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"rows are read in slices of step 1, not {step}")
        if self._memory is not None:
            return self._memory[start:stop]
        values = np.empty((max(stop - start, 0), self.shape[1]), dtype="<f4")
        self._read(start, values)
        return torch.from_numpy(values)

    def take(self, index: Tensor) -> Tensor:
        """Return the rows that an index int64 (m,) or mask bool (n,) selects, as float32 (m, d)."""
        if self._memory is not None:
            return self._memory[index]
        rows = index.nonzero()[:, 0] if index.dtype == torch.bool else index
        values = np.empty((len(rows), self.shape[1]), dtype="<f4")
        for row, position in zip(values, rows.tolist(), strict=True):
            self._read(range(len(self))[position], row)
        return torch.from_numpy(values)

    def put(self, index: Tensor, values: Tensor) -> None:
        """Write `values` (m, d) to the rows of index int64 (m,); of a matrix made by `blank` only."""
        if self._memory is not None:
            self._memory[index] = values.float()
            return
        assert self._file is not None
        for position, row in zip(index.tolist(), values.float().contiguous().numpy().astype("<f4"), strict=True):
            self._file.seek(self._offset + 4 * self.shape[1] * position)
            self._file.write(row.tobytes())

    def _read(self, start: int, values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> None:
        """Fill an array with the rows from `start` on."""
        assert self._file is not None
        self._file.seek(self._offset + 4 * self.shape[1] * start)
        view = values.data.cast("B") if values.size else memoryview(b"")
        while view:
            count = self._file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise OSError("a file of rows ends early")
            view = view[count:]
