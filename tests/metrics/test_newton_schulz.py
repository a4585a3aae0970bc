"""DeepI2I's Frechet distance: the exact one where its iteration converges, and no number where it does not."""

import numpy as np
import pytest
import scipy.linalg
import torch

from kdx2i.errors import UserError
from kdx2i.metrics.distances.frechet import frechet_distance
from kdx2i.metrics.distances.newton_schulz import newton_schulz_distance, newton_schulz_root


def features(count: int, dimension: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    """Return non-negative features float32 (count, dimension) whose spectrum decays."""
    generator = torch.Generator().manual_seed(seed)
    decay = torch.arange(1, dimension + 1) ** -0.5
    return (torch.randn(count, dimension, generator=generator) * decay * scale + 0.3).abs()


def scipy_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the textbook formula with SciPy's matrix root in float64, as the code bases without Newton-Schulz."""
    (m1, s1), (m2, s2) = ((np.mean(f, 0), np.cov(f, rowvar=False)) for f in (x.double().numpy(), y.double().numpy()))
    root = scipy.linalg.sqrtm(s1 @ s2).real
    return float((m1 - m2) @ (m1 - m2) + np.trace(s1) + np.trace(s2) - 2.0 * np.trace(root))


@pytest.mark.parametrize(("generated", "real", "dimension"), [(300, 500, 24), (2000, 1500, 64)])
def test_it_is_the_distance_where_images_are_many(generated: int, real: int, dimension: int) -> None:
    x, y = features(generated, dimension, 0), features(real, dimension, 1, 1.2)
    distance = newton_schulz_distance(x, y)
    assert distance == pytest.approx(scipy_distance(x, y), rel=1e-3, abs=1e-4)
    assert distance == pytest.approx(frechet_distance(x, y), rel=1e-3, abs=1e-4)
    assert distance != frechet_distance(x, y)  # its arithmetic is float32, and that is kept


def test_the_root_is_a_root() -> None:
    covariance = torch.from_numpy(np.cov(features(400, 16, 3).numpy(), rowvar=False))
    root = newton_schulz_root(covariance)
    assert root is not None
    torch.testing.assert_close(root @ root, covariance, rtol=1e-9, atol=1e-12)


def test_few_steps_have_not_arrived() -> None:
    covariance = torch.diag(torch.tensor([1.0, 1e-6], dtype=torch.float64))
    root = newton_schulz_root(covariance, steps=3)
    assert root is not None
    assert float(root[1, 1]) < 0.5e-3


@pytest.mark.parametrize("count", [10, 40])
def test_too_few_images_have_no_number(count: int) -> None:
    """As in every class of the paper's sets: fewer images than features, singular covariances, steps that run away."""
    x, y = features(count, 128, 4), features(100, 128, 5)
    assert newton_schulz_distance(x, y) is None
    assert frechet_distance(x, y) > 0.0


def test_equal_sets_are_near_and_wrong_input_is_refused() -> None:
    x = features(600, 32, 6)
    assert newton_schulz_distance(x, x) == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(UserError, match="at least 2"):
        newton_schulz_distance(x[:1], x)
    with pytest.raises(UserError, match="not finite"):
        newton_schulz_distance(torch.full((5, 32), torch.nan), x)
