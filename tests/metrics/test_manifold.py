"""Precision and recall against a direct loop over all pairs, and on sets whose values are known."""

import math

import numpy as np
import pytest
import torch

from kdx2i.errors import UserError
from kdx2i.metrics.distances import manifold
from kdx2i.metrics.distances.manifold import precision_and_recall


def direct(generated: np.ndarray, real: np.ndarray, neighbours: int) -> tuple[float, float]:
    """Return both by the definition, one distance at a time."""

    def share(points: np.ndarray, centres: np.ndarray) -> float:
        radii = [sorted(math.dist(c, other) for other in centres)[neighbours] for c in centres]
        covered = [any(math.dist(p, c) <= r for c, r in zip(centres, radii, strict=True)) for p in points]
        return sum(covered) / len(points)

    return share(generated, real), share(real, generated)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize(("count", "dimension"), [(40, 2), (25, 6)])
def test_it_is_what_the_definition_says(
    neighbours: int, count: int, dimension: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifold, "_BLOCK", 7)  # several blocks, the last one shorter than k
    drawn = np.random.default_rng(count + neighbours)
    real = 5.0 + drawn.normal(size=(count, dimension))
    generated = 5.4 + 0.6 * drawn.normal(size=(count - 9, dimension))
    values = precision_and_recall(generated, real, neighbours)
    assert values == pytest.approx(direct(generated, real, neighbours), abs=1e-12)
    assert 0 < values[0] < 1 or 0 < values[1] < 1
    assert precision_and_recall(real, generated, neighbours) == values[::-1]


def test_known_sets() -> None:
    drawn = np.random.default_rng(0)
    real = torch.from_numpy(100 + drawn.normal(size=(30, 4))).float()
    assert precision_and_recall(real, real) == (1.0, 1.0)
    assert precision_and_recall(real + 50, real) == (0.0, 0.0)
    # Copies of a few images are precise and cover little.
    copies = real[:4].repeat(5, 1)
    precision, recall = precision_and_recall(copies, real)
    assert precision == 1.0
    assert recall == pytest.approx(4 / 30)
    with pytest.raises(UserError, match="more than 3 images on each side"):
        precision_and_recall(real[:3], real)
