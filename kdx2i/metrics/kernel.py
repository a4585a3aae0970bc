"""Kernel distance (KID): the unbiased squared maximum mean discrepancy with a cubic polynomial kernel.

Source: Binkowski et al. 2018, k(a, b) = (a.b / d + 1)^3. The estimate may be negative; tables print it x 100.
"""

import math
import statistics
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.samples import feature_pair, split_by_class
from kdx2i.metrics.threads import single_thread

_BLOCK = 2048  # rows of a kernel matrix that exist at a time


@dataclass(frozen=True)
class KernelEstimate:
    """A kernel distance with its jackknife standard error (None below three samples in a set)."""

    value: float
    standard_error: float | None


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return the kernel matrix (..., n, m) of the rows of a (..., n, d) and b (..., m, d)."""
    gram: Tensor = (a @ b.transpose(-1, -2)).div_(a.shape[-1]).add_(1.0)
    return gram.pow_(3)


def _within_sums(x: Tensor) -> Tensor:
    """Return for each row of x (n, d) the sum of its kernel values with all other rows."""
    sums = torch.empty(x.shape[0], dtype=x.dtype)
    for start in range(0, x.shape[0], _BLOCK):
        block = _kernel(x[start : start + _BLOCK], x)
        block.diagonal(offset=start).zero_()
        sums[start : start + _BLOCK] = block.sum(1)
    return sums


def _between_sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row sums (n,) and column sums (m,) of the kernel matrix between x (n, d) and y (m, d)."""
    rows = torch.empty(x.shape[0], dtype=x.dtype)
    columns = torch.zeros(y.shape[0], dtype=x.dtype)
    for start in range(0, x.shape[0], _BLOCK):
        block = _kernel(x[start : start + _BLOCK], y)
        rows[start : start + _BLOCK] = block.sum(1)
        columns += block.sum(0)
    return rows, columns


def _jackknife(within: Tensor, between: Tensor, other_mean: float, others: int) -> Tensor:
    """Return the estimates (n,) with each of n samples left out, from its kernel sums inside and across."""
    n = within.shape[0]
    inside = (within.sum() - 2.0 * within) / ((n - 1) * (n - 2))
    across = (between.sum() - between) / ((n - 1) * others)
    return inside + other_mean - 2.0 * across


def kernel_estimate(x: Any, y: Any) -> KernelEstimate:
    """Return the full-set kernel distance of x (n, d) and y (m, d) with a delete-one jackknife error.

    sum_{i != j} k(x_i, x_j) / (n (n - 1)) + sum_{i != j} k(y_i, y_j) / (m (m - 1))
    - 2 sum_{ij} k(x_i, y_j) / (n m), in float64, from blocks of rows. It equals the mean of the subset
    estimate over all subsets of any one size. `UserError` as in `feature_pair`.
    """
    first, second = feature_pair(x, y)
    n, m = first.shape[0], second.shape[0]
    within = _within_sums(first), _within_sums(second)
    rows, columns = _between_sums(first, second)
    means = float(within[0].sum()) / (n * (n - 1)), float(within[1].sum()) / (m * (m - 1))
    value = means[0] + means[1] - 2.0 * float(rows.sum()) / (n * m)
    if min(n, m) < 3:
        return KernelEstimate(value, None)
    variance = 0.0
    for left_out in (_jackknife(within[0], rows, means[1], m), _jackknife(within[1], columns, means[0], n)):
        count = left_out.shape[0]
        variance += float((left_out - left_out.mean()).square().sum()) * (count - 1) / count
    return KernelEstimate(value, variance**0.5)


def kernel_distance(x: Any, y: Any) -> float:
    """Return the full-set unbiased kernel distance of x (n, d) and y (m, d); see `kernel_estimate`."""
    return kernel_estimate(x, y).value


def kernel_distance_subsets(x: Any, y: Any, x_subsets: Any, y_subsets: Any) -> Tensor:
    """Return the kernel distance of each pair of subsets as float64 (s,).

    `x_subsets` and `y_subsets` are integer index arrays (s, size) into the rows of x and y. With the indices
    that clean-fid or torch-fidelity draw, the mean is their number. `UserError` for subsets of unequal shape
    or of size 1.
    """
    first, second = feature_pair(x, y)
    indices = torch.as_tensor(x_subsets), torch.as_tensor(y_subsets)
    if indices[0].shape != indices[1].shape or indices[0].ndim != 2 or indices[0].shape[1] < 2:
        shapes = " and ".join(str(tuple(index.shape)) for index in indices)
        raise UserError(f"subset indices have shapes {shapes}, expected two equal (subsets, size) with size >= 2")
    size = indices[0].shape[1]
    values = []
    for mine, other in zip(*indices, strict=True):
        a, b = first[mine], second[other]
        inside = _within_sums(a).sum() + _within_sums(b).sum()
        values.append(inside / (size * (size - 1)) - 2.0 * _kernel(a, b).sum() / size**2)
    return torch.stack(values) if values else torch.empty(0, dtype=torch.float64)


def kernel_distance_per_class(x: Any, x_labels: Any, y: Any, y_labels: Any, num_classes: int) -> list[float]:
    """Return the kernel distance of each class 0 .. num_classes - 1; their mean is mKID.

    `x_labels` (n1,) and `y_labels` (n2,) hold class indices. `UserError` if a class has fewer than two
    samples.
    """
    pairs = zip(split_by_class(x, x_labels, num_classes), split_by_class(y, y_labels, num_classes), strict=True)
    with single_thread():
        return [kernel_distance(mine, other) for mine, other in pairs]


def standard_error(values: list[float]) -> float | None:
    """Return the standard error of the mean of `values` (spread with ddof = 1); None for fewer than two."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
