"""FID at infinitely many images: the intercept, and when there is none."""

import numpy as np
import pytest

from kdx2i.errors import UserError
from kdx2i.metrics.distances.frechet import frechet_distance
from kdx2i.metrics.distances.infinity import frechet_infinity


def pair(seed: int, n: int, m: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples of N(0, 1) and N(0.05, 1.1^2): the distance of the distributions is 0.0125 d."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, dimension)), 1.1 * generator.normal(size=(m, dimension)) + 0.05


@pytest.mark.parametrize(("which", "real"), [("generated", 3000), ("both", 600)])
def test_bias_is_taken_away(which: str, real: int) -> None:
    sets = [pair(seed, 600, real, 12) for seed in range(8)]
    estimate = [frechet_infinity(*both, which=which, seed=seed) for seed, both in enumerate(sets)]
    finite = np.mean([frechet_distance(*both) for both in sets])
    value = np.mean([one.value for one in estimate])
    assert finite - 0.15 > 0.05
    assert value == pytest.approx(0.15, abs=0.4 * (finite - 0.15))
    assert all(one.linear and one.slope > 0 for one in estimate)


def test_what_is_recorded() -> None:
    x, y = pair(0, 60, 70, 40)
    estimate = frechet_infinity(x, y, points=4, seed=1)
    assert estimate.sizes == [30, 40, 50, 60]
    assert estimate.distances[-1] == frechet_distance(x, y)
    assert estimate.value < min(estimate.distances)
    assert not estimate.linear  # 60 images of 40 dimensions: the line does not reach the limit
    assert estimate == frechet_infinity(x, y, points=4, seed=1)
    assert estimate != frechet_infinity(x, y, points=4, seed=2)


def test_too_few_images() -> None:
    x, y = pair(0, 60, 49, 3)
    assert frechet_infinity(x, y).value is not None
    short = frechet_infinity(x, y, which="both")
    assert short.value is None
    assert "needs 50 of them, there are 49" in short.reason
    with pytest.raises(UserError, match="at least 2 points"):
        frechet_infinity(x, y, points=1)
