"""Precision and recall of generated images by nearest neighbours of features (Kynkaanniemi et al. 2019, section 2).

A set's manifold is the union of balls around its features, each with the distance to its k-th nearest neighbour in
the set as radius. Precision is the share of generated features within the manifold of the real ones, recall the share
of real features within that of the generated ones.
"""

from typing import Any

import numpy as np

from kdx2i.errors import UserError
from kdx2i.metrics.distances.samples import Array, FeatureMatrix, block, feature_rows

NEIGHBOURS = 3
"""k, as in the official code (`knn_precision_recall.py` of kynkaat/improved-precision-and-recall-metric)."""
_BLOCK = 1024  # rows at a time
_NOISE = 1e-12  # share of the squared lengths that rounding may leave of a difference of nothing


def precision_and_recall(generated: Any, real: Any, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Return precision and recall in [0, 1] of features (n, d) against features (m, d), in float64.

    Memory grows with n + m and blocks of rows. `UserError` for a set of `neighbours` features or fewer.
    """
    x, y = feature_rows(generated, real)
    if min(len(x), len(y)) <= neighbours:
        raise UserError(f"precision and recall need more than {neighbours} images on each side")
    return _covered(x, y, _radii(y, neighbours)), _covered(y, x, _radii(x, neighbours))


def _squared(x: Array, y: Array) -> Array:
    """Return the squared distances (a, b) of rows (a, d) and (b, d); of equal rows exactly 0."""
    scale = np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None]
    found: Array = scale - 2.0 * x @ y.T
    found[found < _NOISE * scale] = 0.0
    return found


def _radii(rows: FeatureMatrix, neighbours: int) -> Array:
    """Return the squared distance (n,) of each feature to its k-th nearest other one."""
    radii = []
    for start in range(0, len(rows), _BLOCK):
        own = block(rows, start, start + _BLOCK)
        nearest = np.empty((len(own), 0))
        for other in range(0, len(rows), _BLOCK):
            found = _squared(own, block(rows, other, other + _BLOCK))
            both = np.concatenate([nearest, found], axis=1)
            # Itself is among them, at distance 0.
            kept = min(neighbours + 1, both.shape[1])
            nearest = np.partition(both, kept - 1, axis=1)[:, :kept]
        radii.append(nearest.max(1))
    return np.concatenate(radii)


def _covered(rows: FeatureMatrix, centres: FeatureMatrix, radii: Array) -> float:
    """Return the share of features that lie in a ball of squared radius `radii` (m,) around a centre."""
    inside = 0
    for start in range(0, len(rows), _BLOCK):
        own = block(rows, start, start + _BLOCK)
        covered = np.zeros(len(own), dtype=bool)
        for other in range(0, len(centres), _BLOCK):
            part = block(centres, other, other + _BLOCK)
            covered |= (_squared(own, part) <= radii[other : other + _BLOCK]).any(1)
        inside += int(covered.sum())
    return inside / len(rows)
