"""Feature sets as blocks of float64 rows, and the checks that the distances share."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from kdx2i.errors import UserError

Array = NDArray[np.float64]


class FeatureMatrix(Protocol):
    """A feature matrix (n, d) in memory or in a file: an array, a tensor or anything that slices like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers of samples and features."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, rows: slice) -> Any:
        """Return an array or tensor with the rows of a slice without step."""


def feature_rows(x: Any, y: Any) -> tuple[FeatureMatrix, FeatureMatrix]:
    """Return two feature sets (n1, d) and (n2, d) that slice by rows; nothing is read from a file yet.

    Raises `UserError` for other shapes, different dimensions or fewer than two samples (no unbiased covariance
    or kernel mean exists). Whether values are finite shows when `block` reads them.
    """
    pair = []
    for name, value in (("first", x), ("second", y)):
        rows: Any = value.detach().cpu() if isinstance(value, torch.Tensor) else value
        rows = rows if hasattr(rows, "shape") else np.asarray(rows)
        if len(rows.shape) != 2 or rows.shape[1] == 0:
            raise UserError(f"the {name} feature set has shape {tuple(rows.shape)}, expected (samples, features)")
        if rows.shape[0] < 2:
            raise UserError(f"the {name} feature set has {rows.shape[0]} sample(s), at least 2 are needed")
        pair.append(rows)
    if pair[0].shape[1] != pair[1].shape[1]:
        raise UserError(f"the feature sets have {pair[0].shape[1]} and {pair[1].shape[1]} dimensions, expected equal")
    return pair[0], pair[1]


def block(rows: FeatureMatrix, start: int = 0, stop: int | None = None) -> Array:
    """Return rows start .. stop as float64; `UserError` if a value is not finite. It may share memory with `rows`."""
    part: Any = rows[start : len(rows) if stop is None else stop]
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu().to(torch.float64)  # also from types that NumPy lacks
    array = np.asarray(part, dtype=np.float64)
    if not np.isfinite(array).all():
        raise UserError(f"a feature set holds a value that is not finite (rows {start} to {start + len(array) - 1})")
    return array


def blocks(rows: FeatureMatrix, size: int) -> Iterator[Array]:
    """Yield all rows in order as float64 blocks of at most `size`."""
    for start in range(0, len(rows), size):
        yield block(rows, start, min(start + size, len(rows)))


def by_class(labels: Any, classes: int) -> list[NDArray[np.int64]]:
    """Return the ascending row indices of each class 0 .. classes - 1, given integer labels (n,).

    `UserError` for labels of another shape or outside the classes.
    """
    index = np.asarray(labels)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise UserError(f"labels have shape {index.shape} and type {index.dtype}, expected one integer a sample")
    if index.size and (index.min() < 0 or index.max() >= classes):
        raise UserError(f"a label lies outside the {classes} classes")
    order = np.argsort(index, kind="stable")
    ends = np.cumsum(np.bincount(index, minlength=classes)).tolist()
    return [order[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def take(rows: Any, index: NDArray[np.int64]) -> NDArray[Any]:
    """Return the rows of ascending indices as a floating array, without a copy where they lie together in memory."""
    if len(index) and index[-1] - index[0] + 1 == len(index):
        taken = rows[int(index[0]) : int(index[-1]) + 1]
    elif isinstance(rows, np.ndarray | torch.Tensor):
        taken = rows[index]
    else:
        taken = rows.take(torch.from_numpy(index))
    if isinstance(taken, torch.Tensor):
        taken = taken.detach().cpu()
        taken = taken.numpy() if taken.dtype in (torch.float32, torch.float64) else taken.double().numpy()
    return np.asarray(taken)
