"""The Frechet distance extrapolated to infinitely many images.

Source: Chong and Forsyth 2020 (arXiv 1911.07023), section 4: the bias of FID falls like 1/N to first order, so a
line through FID against 1/N over growing random subsets has the distance of infinitely many images as its
intercept.

The expansion holds where a covariance is estimated from many more samples than it has dimensions. Below that the
curve is steeper than a line in 1/N and its intercept still holds bias: read it as a direction, not as a
value. `Extrapolation.linear` says so.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kdx2i.errors import UserError
from kdx2i.metrics.distances.frechet import Gaussian, gaussian_distance
from kdx2i.metrics.distances.samples import FeatureMatrix, block, feature_rows

FEWEST = 50
"""Images in an extrapolated set below which there is no value."""


@dataclass(frozen=True)
class Extrapolation:
    """The intercept of FID against 1/N, or None with a reason.

    `sizes` are the numbers of generated images and `distances` their values, `slope` the rise in FID for each
    1/N. `linear` is False where an extrapolated set has fewer than 2 d images, so that the 1/N regime is not reached.
    """

    value: float | None
    reason: str | None
    slope: float | None
    sizes: list[int]
    distances: list[float]
    linear: bool
    which: Literal["generated", "both"]


def frechet_infinity(
    generated: Any,
    real: Any,
    *,
    which: Literal["generated", "both"] = "generated",
    points: int = 15,
    seed: int = 0,
) -> Extrapolation:
    """Return the Frechet distance of `generated` (n1, d) and `real` (n2, d) at infinitely many images.

    "generated" (the paper's form) extrapolates the generated set and keeps all real images, whose own bias
    stays in the value; "both" draws the same share of both sets. The subsets have evenly spaced sizes from a
    tenth of the set (its half below 500 images) to all of it, each drawn anew without replacement;
    deterministic given `seed`. Costs `points` distances. `UserError` as in `frechet_distance`, and for fewer
    than two points.
    """
    first, second = feature_rows(generated, real)
    if points < 2:
        raise UserError(f"the extrapolation needs at least 2 points, got {points}")
    moving = [first, second] if which == "both" else [first]
    fewest = min(len(rows) for rows in moving)
    linear = fewest >= 2 * first.shape[1]
    if fewest < FEWEST:
        reason = f"FID extrapolated to infinitely many images needs {FEWEST} of them, there are {fewest}"
        return Extrapolation(None, reason, None, [], [], linear, which)
    generator = np.random.default_rng(seed)
    fixed = None if which == "both" else Gaussian.fit(second)
    shares, sizes, distances = [], [], []
    for share in np.linspace(0.1 if fewest >= 500 else 0.5, 1.0, points).tolist():
        subset = _drawn(first, share, generator)
        against = fixed or Gaussian.fit(_drawn(second, share, generator))
        pair = Gaussian.fit(subset), against
        distances.append(gaussian_distance(*sorted(pair, key=len)))
        sizes.append(len(subset))
        shares.append(len(subset) / len(first))
    slope, intercept = np.polyfit(1.0 / np.array(shares), distances, 1).tolist()
    return Extrapolation(intercept, None, slope * len(first), sizes, distances, linear, which)


def _drawn(rows: FeatureMatrix, share: float, generator: np.random.Generator) -> FeatureMatrix:
    """Return a random share of the rows, in their order; all of them without a copy."""
    count = round(share * len(rows))
    if count == len(rows):
        return rows
    index = np.sort(generator.choice(len(rows), count, replace=False))
    parts = []
    for start in range(0, len(rows), 4096):
        stop = min(start + 4096, len(rows))
        inside = index[(index >= start) & (index < stop)] - start
        parts.append(block(rows, start, stop)[inside])
    return np.concatenate(parts)
