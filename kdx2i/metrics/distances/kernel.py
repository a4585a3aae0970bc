"""Kernel distance (KID): the unbiased squared maximum mean discrepancy with a cubic polynomial kernel.

Source: Binkowski et al. 2018, k(a, b) = (a.b / d + 1)^3. The estimate may be negative; tables print it x 100.
"""

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.distances.frechet import LARGE_CLASS
from kdx2i.metrics.distances.samples import Array, FeatureMatrix, block, blocks, by_class, feature_rows, take
from kdx2i.metrics.threads import single_thread

_BLOCK = 1024  # rows of a kernel matrix that exist at a time


@dataclass(frozen=True)
class KernelEstimate:
    """A kernel distance with its jackknife standard error (None below three samples in a set)."""

    value: float
    standard_error: float | None


def cubed(products: Array, dimension: int) -> Array:
    """Turn inner products (..., n, m) of features into kernel values, in place."""
    products /= dimension
    products += 1.0
    products *= np.square(products)
    return products


def _sums(x: FeatureMatrix, y: FeatureMatrix, x_weights: Array, y_weights: Array) -> tuple[Array, Array]:
    """Return K w_y (n, s) and K^T w_x (m, s) of the kernel matrix between two sets, block by block.

    `x_weights` (n, s) and `y_weights` (m, s) count how often each sample is taken. With x the same object as
    y only blocks on and above the diagonal are formed.
    """
    rows, columns = np.zeros((len(x), y_weights.shape[1])), np.zeros((len(y), x_weights.shape[1]))
    for i in range(0, len(x), _BLOCK):
        of_x = slice(i, min(i + _BLOCK, len(x)))
        a = block(x, of_x.start, of_x.stop)
        for j in range(i if x is y else 0, len(y), _BLOCK):
            of_y = slice(j, min(j + _BLOCK, len(y)))
            b = a if x is y and i == j else block(y, of_y.start, of_y.stop)
            kernel = cubed(a @ b.T, a.shape[1])
            rows[of_x] += kernel @ y_weights[of_y]
            columns[of_y] += kernel.T @ x_weights[of_x]
            if x is y and i != j:
                rows[of_y] += kernel.T @ y_weights[of_x]
                columns[of_x] += kernel @ x_weights[of_y]
    return rows, columns


def _diagonal(x: FeatureMatrix) -> Array:
    """Return k(x_i, x_i) of each sample (n,)."""
    return np.concatenate([cubed(np.square(part).sum(1), part.shape[1]) for part in blocks(x, _BLOCK)])


def unbiased(within: tuple[Array, Array], between: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the kernel distance (...) and its jackknife variance (...; nan below three samples in a set).

    `within` holds for each sample of either set, (..., n) and (..., m), the sum of its kernel values with all
    others of its set, `between` with all of the other set.
    """
    n, m = within[0].shape[-1], within[1].shape[-1]
    means = within[0].sum(-1) / (n * (n - 1)), within[1].sum(-1) / (m * (m - 1))
    value = means[0] + means[1] - 2.0 * between[0].sum(-1) / (n * m)
    variance = np.full(value.shape, np.nan if min(n, m) < 3 else 0.0)
    if min(n, m) >= 3:
        for own, across, others in ((within[0], between[0], m), (within[1], between[1], n)):
            count = own.shape[-1]
            inside = (own.sum(-1, keepdims=True) - 2.0 * own) / ((count - 1) * (count - 2))
            left_out = inside - 2.0 * (across.sum(-1, keepdims=True) - across) / ((count - 1) * others)
            left_out -= left_out.mean(-1, keepdims=True)
            variance += np.square(left_out).sum(-1) * (count - 1) / count
    return value, variance


def kernel_estimate(x: Any, y: Any) -> KernelEstimate:
    """Return the full-set kernel distance of x (n, d) and y (m, d) with a delete-one jackknife error.

    sum_{i != j} k(x_i, x_j) / (n (n - 1)) + sum_{i != j} k(y_i, y_j) / (m (m - 1))
    - 2 sum_{ij} k(x_i, y_j) / (n m), in float64, from blocks of rows (memory grows with n + m only). It equals
    the mean of the subset estimate over all subsets of any one size. Input and errors as in
    `frechet_distance`.
    """
    first, second = feature_rows(x, y)
    ones = [np.ones((len(rows), 1)) for rows in (first, second)]
    within = [
        _sums(rows, rows, one, one)[0][:, 0] - _diagonal(rows) for rows, one in zip((first, second), ones, strict=True)
    ]
    rows, columns = _sums(first, second, *ones)
    value, variance = unbiased((within[0], within[1]), (rows[:, 0], columns[:, 0]))
    return KernelEstimate(float(value), None if np.isnan(variance) else float(variance) ** 0.5)


def kernel_distance(x: Any, y: Any) -> float:
    """Return the full-set unbiased kernel distance of x (n, d) and y (m, d); see `kernel_estimate`."""
    return kernel_estimate(x, y).value


def kernel_distance_subsets(x: Any, y: Any, x_subsets: Any, y_subsets: Any) -> Tensor:
    """Return the kernel distance of each pair of subsets as float64 (s,).

    `x_subsets` and `y_subsets` are integer index arrays (s, size) into the rows of x and y, see
    `kdx2i.metrics.distances.subsets`. All kernel values are formed once, whatever the number of subsets. `UserError`
    for subsets of unequal shape, of size 1 or with an index outside the rows.
    """
    first, second = feature_rows(x, y)
    indices = np.asarray(x_subsets), np.asarray(y_subsets)
    if indices[0].shape != indices[1].shape or indices[0].ndim != 2 or indices[0].shape[1] < 2:
        shapes = " and ".join(str(index.shape) for index in indices)
        raise UserError(f"subset indices have shapes {shapes}, expected two equal (subsets, size) with size >= 2")
    number, size = indices[0].shape
    weights = []
    for rows, index in zip((first, second), indices, strict=True):
        if index.size and (index.min() < 0 or index.max() >= len(rows)):
            raise UserError(f"a subset index lies outside the {len(rows)} rows")
        weight = np.zeros((len(rows), number))
        np.add.at(weight, (index, np.arange(number)[:, None]), 1.0)
        weights.append(weight)
    inside = np.zeros(number)
    for rows, weight in zip((first, second), weights, strict=True):
        inside += (_sums(rows, rows, weight, weight)[0] * weight).sum(0) - _diagonal(rows) @ weight
    across = (_sums(first, second, *weights)[0] * weights[0]).sum(0)
    return torch.from_numpy(inside / (size * (size - 1)) - 2.0 * across / size**2)


def kernel_distance_per_class(x: Any, x_labels: Any, y: Any, y_labels: Any, num_classes: int) -> list[float]:
    """Return the kernel distance of each class 0 .. num_classes - 1; their mean is mKID.

    `x_labels` (n1,) and `y_labels` (n2,) hold class indices. `UserError` if a class has fewer than two
    samples.
    """
    x_rows, y_rows = feature_rows(x, y)
    with single_thread():
        pairs = list(zip(by_class(x_labels, num_classes), by_class(y_labels, num_classes), strict=True))
        most = min(LARGE_CLASS, max((len(own) + len(other) for own, other in pairs), default=0))
        space = np.empty((most, x_rows.shape[1]))  # one for all: fresh pages cost about a tenth of the time
        return [_class_distance(take(x_rows, own), take(y_rows, other), space) for own, other in pairs]


def _class_distance(x: NDArray[Any], y: NDArray[Any], space: Array) -> float:
    """Return the kernel distance of two sets, small ones from one kernel matrix of both; `space` is overwritten."""
    feature_rows(x, y)
    n, m = len(x), len(y)
    if n + m > LARGE_CLASS:
        return kernel_distance(x, y)
    rows = np.concatenate([x, y], out=space[: n + m])
    kernel = cubed(rows @ rows.T, rows.shape[1])
    kernel.flat[:: n + m + 1] = 0.0
    if not np.isfinite(kernel).all():
        raise UserError("a feature set holds a value that is not finite")
    inside = kernel[:n, :n].sum() / (n * (n - 1)) + kernel[n:, n:].sum() / (m * (m - 1))
    return float(inside - 2.0 * kernel[:n, n:].sum() / (n * m))


def standard_error(values: list[float]) -> float | None:
    """Return the standard error of the mean of `values` (spread with ddof = 1); None for fewer than two."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
