"""Sampling error without a further forward pass: intervals, and the bootstrap of per-image quantities.

Distances get `normal_estimate` with a delete-one jackknife error, not a percentile bootstrap: a resample holds
only about 63 % different images, which raises a Frechet distance by as much as its bias (simulated, 87 against
100 samples of 300 features: value 21.8, bootstrap mean 28.8) and doubles its spread. The jackknife repeats no
image, needs no seed and follows from matrices that are there already. Its variance is not too small on average
(Efron and Stein 1981).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdx2i.errors import UserError

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and 95 % interval, None where there are too few samples for one."""

    value: float
    standard_error: float | None
    low: float | None
    high: float | None


def normal_estimate(value: float, standard_error: float | None) -> Estimate:
    """Return value +- 1.96 standard errors."""
    if standard_error is None:
        return Estimate(value, None, None, None)
    half = _NORMAL_95 * standard_error
    return Estimate(value, standard_error, value - half, value + half)


def mean_estimate(values: Sequence[float], errors: Sequence[float | None]) -> Estimate:
    """Return the mean of independent values (one a class) and the error that it has from theirs.

    The classes are taken as given: only their images are thought of as drawn.
    """
    if not values or len(values) != len(errors):
        raise UserError(f"a mean over classes needs one error a value, got {len(values)} and {len(errors)}")
    mean = math.fsum(values) / len(values)
    known = [error for error in errors if error is not None]
    if len(known) < len(errors):
        return normal_estimate(mean, None)
    return normal_estimate(mean, math.sqrt(math.fsum(error**2 for error in known)) / len(errors))


def resample(count: int, replicates: int, seed: int) -> NDArray[np.int64]:
    """Return (replicates, count) indices drawn with replacement from 0 .. count - 1; equal for equal seeds."""
    return np.random.default_rng(seed).integers(0, count, (replicates, count))


def bootstrap_mean(values: Any, *, replicates: int = 1000, seed: int = 0) -> Estimate:
    """Return the mean of per-image values (n,) with bootstrap error and 95 % percentile interval.

    For accuracies (0 or 1 an image), LPIPS (one a source) and other means. `UserError` for no value or one
    that is not finite; one value alone has no interval.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise UserError(f"the bootstrap needs finite values (n,) with n >= 1, got shape {array.shape}")
    if array.size == 1:
        return Estimate(float(array[0]), None, None, None)
    means = array[resample(array.size, replicates, seed)].mean(1)
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return Estimate(float(array.mean()), statistics.stdev(means.tolist()), low, high)
