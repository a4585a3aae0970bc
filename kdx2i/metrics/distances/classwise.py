"""Frechet and kernel distances of every class from one Gram matrix a class.

With centred rows Z of both sets stacked, G = Z Z^T holds everything: its cross block without row and column
means is A B^T of the Frechet distance (see `kdx2i.metrics.distances.frechet`), its diagonal the traces, its row means
the mean difference; and a.b = G_ab + o.a + o.b + |o|^2 gives back the products that the kernel needs, where o is
the origin that was taken away. Without it the Frechet part would cancel for features far from zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdx2i.errors import UserError
from kdx2i.metrics.distances.estimates import Estimate, mean_estimate, normal_estimate
from kdx2i.metrics.distances.frechet import CANCELLED, LARGE_CLASS, frechet_distance
from kdx2i.metrics.distances.frechet_error import frechet_estimate, jackknife_variance
from kdx2i.metrics.distances.kernel import cubed, kernel_estimate, unbiased
from kdx2i.metrics.distances.samples import Array, by_class, feature_rows, take
from kdx2i.metrics.threads import single_thread

_NUMBERS = 1 << 17  # of the Gram matrices handled at a time: 1 MiB, which stays in the cache


@dataclass(frozen=True)
class Classwise:
    """Per-class distances of two sets; None for a class with fewer than two images in one of them.

    The errors are jackknife standard errors, None below three images. Counts are images a class.
    """

    frechet: list[float | None]
    kernel: list[float | None]
    frechet_errors: list[float | None]
    kernel_errors: list[float | None]
    first_counts: list[int]
    second_counts: list[int]

    def mean_frechet(self) -> Estimate | None:
        """Return mFID with the error from the images within classes; None if a class has no value."""
        return _mean(self.frechet, self.frechet_errors)

    def mean_kernel(self) -> Estimate | None:
        """Return mKID (not times 100) with the error from the images within classes; None if a class has no value."""
        return _mean(self.kernel, self.kernel_errors)


def _mean(values: list[float | None], errors: list[float | None]) -> Estimate | None:
    """Return the unweighted mean over classes."""
    known = [value for value in values if value is not None]
    return mean_estimate(known, errors) if known and len(known) == len(values) else None


def classwise_distances(
    x: Any, x_labels: Any, y: Any, y_labels: Any, classes: int, *, errors: bool = True
) -> Classwise:
    """Return the Frechet and kernel distances of each class 0 .. classes - 1 of x (n1, d) and y (n2, d).

    Labels are integers (n1,) and (n2,). The values are those of `frechet_distance` and `kernel_distance` on the
    rows of a class; `errors=False` leaves the standard errors out, which saves time. Runs on one thread: the
    products are small. Whole classes must fit in memory, not the sets. `UserError` for wrong input.
    """
    members = [by_class(labels, classes) for labels in (x_labels, y_labels)]
    for rows, index, name in ((x, x_labels, "first"), (y, y_labels, "second")):
        if len(rows) != len(index):
            raise UserError(f"the {name} feature set has {len(rows)} samples and {len(index)} labels, expected equal")
    counts = [[len(index) for index in side] for side in members]
    first, second = feature_rows(x, y)
    columns: list[list[float | None]] = [[None] * classes for _ in range(4)]
    alike: dict[tuple[int, int], list[int]] = {}
    for label, pair in enumerate(zip(*counts, strict=True)):
        if min(pair) >= 2:
            alike.setdefault(pair, []).append(label)
    with single_thread():
        for (n, m), labels in alike.items():
            large = n + m > LARGE_CLASS
            size = 1 if large else max(1, _NUMBERS // (n + m) ** 2)
            for start in range(0, len(labels), size):
                chunk = labels[start : start + size]
                pairs = [(take(first, members[0][label]), take(second, members[1][label])) for label in chunk]
                computed = _of_large(*pairs[0], errors) if large else _of_alike(pairs, errors)
                for column, values in zip(columns, computed, strict=True):
                    for label, value in zip(chunk, values.tolist(), strict=True):
                        column[label] = None if np.isnan(value) else value
    frechet, kernel, frechet_errors, kernel_errors = columns
    return Classwise(frechet, kernel, frechet_errors, kernel_errors, counts[0], counts[1])


def mean_distances(repeats: Sequence[Classwise]) -> Classwise:
    """Return the class-by-class mean over repeats with equal counts, without errors: repeats are not independent."""
    first = repeats[0]
    means = [_column_means([getattr(repeat, name) for repeat in repeats]) for name in ("frechet", "kernel")]
    none: list[float | None] = [None] * len(first.frechet)
    return Classwise(means[0], means[1], none, none, first.first_counts, first.second_counts)


def _column_means(repeats: Sequence[list[float | None]]) -> list[float | None]:
    """Return the mean of each class over repeats, None where one repeat has none."""
    columns = [[value for value in column if value is not None] for column in zip(*repeats, strict=True)]
    return [math.fsum(column) / len(column) if len(column) == len(repeats) else None for column in columns]


def _of_large(a: NDArray[Any], b: NDArray[Any], errors: bool) -> tuple[Array, Array, Array, Array]:
    """Return one class's Frechet and kernel distances (1,) and their errors, from blocks of rows."""
    kernel = kernel_estimate(a, b)
    frechet = frechet_estimate(a, b) if errors else normal_estimate(frechet_distance(a, b), None)
    kernel_error = kernel.standard_error if errors else None
    numbers = (frechet.value, kernel.value, frechet.standard_error, kernel_error)
    one, two, three, four = (np.array([np.nan if value is None else value]) for value in numbers)
    return one, two, three, four


def _of_alike(pairs: list[tuple[NDArray[Any], NDArray[Any]]], errors: bool) -> tuple[Array, Array, Array, Array]:
    """Return Frechet and kernel distances (c,) and their errors of c classes with the same counts."""
    (n, dimension), m = pairs[0][0].shape, len(pairs[0][1])
    gram = np.empty((len(pairs), n + m, n + m))
    inner = np.empty((len(pairs), n + m, 1))  # products of the centred rows with the origin
    square = np.empty((len(pairs), 1, 1))
    rows = np.empty((n + m, dimension))
    for i, (a, b) in enumerate(pairs):
        rows[:n], rows[n:] = a, b
        origin = rows[:n].mean(0)
        rows -= origin
        with np.errstate(invalid="ignore"):  # reported below
            np.matmul(rows, rows.T, out=gram[i])
        np.matmul(rows, origin, out=inner[i, :, 0])
        square[i] = origin @ origin
    if not np.isfinite(gram.diagonal(axis1=1, axis2=2)).all():
        raise UserError("a feature set holds a value that is not finite")

    kernels = gram + inner
    kernels += inner.transpose(0, 2, 1) + square
    cubed(kernels, dimension)
    first, second = kernels[:, :, :n].sum(2), kernels[:, :, n:].sum(2)
    diagonal = kernels.diagonal(axis1=1, axis2=2)
    within = first[:, :n] - diagonal[:, :n], second[:, n:] - diagonal[:, n:]
    kernel, kernel_variance = unbiased(within, (second[:, :n], first[:, n:]))

    means = gram[:, :, :n].mean(2), gram[:, :, n:].mean(2)  # products of each row with either mean
    squared = means[0][:, :n].mean(1), means[1][:, n:].mean(1)
    crossed = means[1][:, :n].mean(1)
    cross = gram[:, :n, n:] - means[1][:, :n, None] - means[0][:, None, n:] + crossed[:, None, None]
    cross /= ((n - 1) * (m - 1)) ** 0.5
    lengths = gram.diagonal(axis1=1, axis2=2)
    x_lengths = lengths[:, :n] - 2.0 * means[0][:, :n] + squared[0][:, None]
    y_lengths = lengths[:, n:] - 2.0 * means[1][:, n:] + squared[1][:, None]
    traces = x_lengths.sum(1) / (n - 1), y_lengths.sum(1) / (m - 1)
    if errors:
        u, roots, vh = np.linalg.svd(cross, full_matrices=False)
    else:
        roots = np.linalg.svd(cross, compute_uv=False)
    total = traces[0] + traces[1]
    frechet = squared[0] + squared[1] - 2.0 * crossed + total - 2.0 * roots.sum(1)
    for close in np.flatnonzero(frechet <= CANCELLED * total).tolist():
        frechet[close] = frechet_distance(*pairs[close])
    if not errors or min(n, m) < 3:
        nothing = np.full(len(pairs), np.nan)
        return frechet, kernel, nothing, nothing if not errors else np.sqrt(kernel_variance)

    variance = np.zeros(len(pairs))
    sides = (
        (x_lengths, means[0][:, :n] - means[1][:, :n], traces[0], (n - 1) * np.square(u)),
        (y_lengths, means[1][:, n:] - means[0][:, n:], traces[1], (m - 1) * np.square(vh.transpose(0, 2, 1))),
    )
    for own_lengths, along, trace, shares in sides:
        along = along - along.mean(1, keepdims=True)
        values = np.square(roots)
        variance += jackknife_variance(own_lengths, along, trace, roots.sum(1), shares * values[:, None], values)
    return frechet, kernel, np.sqrt(variance), np.sqrt(kernel_variance)
