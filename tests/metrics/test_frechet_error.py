"""The jackknife error of the Frechet distance: equal to leaving each sample out, and of the right size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.metrics.distances.classwise import classwise_distances
from kdx2i.metrics.distances.frechet import frechet_distance
from kdx2i.metrics.distances.frechet_error import frechet_estimate, root_changes


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 12), st.integers(3, 12), st.sampled_from([1, 2, 5, 12, 40]), st.integers(0, 2**32 - 1))
def test_leaving_each_sample_out(n: int, m: int, dimension: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(n, dimension)), 1.3 * generator.normal(size=(m, dimension)) + 0.2
    variance = 0.0
    for resampled, other in ((x, y), (y, x)):
        left = np.array([frechet_distance(np.delete(resampled, i, axis=0), other) for i in range(len(resampled))])
        variance += np.square(left - left.mean()).sum() * (len(resampled) - 1) / len(resampled)
    estimate = frechet_estimate(x, y)
    assert estimate.value == frechet_distance(x, y)
    assert estimate.standard_error == pytest.approx(variance**0.5, rel=1e-4, abs=1e-6)


@given(st.integers(1, 6), st.floats(0.0, 1.0), st.integers(0, 2**32 - 1))
def test_root_of_a_rank_one_change(size: int, share: float, seed: int) -> None:
    # The largest rho that leaves the matrix positive is 1 / sum v^2 / lambda; any share of it is allowed.
    generator = np.random.default_rng(seed)
    eigenvalues, v = 10.0 ** generator.uniform(-6, 6, size), generator.normal(size=size)
    rho = share / float((v**2 / eigenvalues).sum())
    after = np.linalg.eigvalsh(np.diag(eigenvalues) - rho * np.outer(v, v)).clip(0.0)
    expected = np.sqrt(after).sum() - np.sqrt(eigenvalues).sum()
    estimate = root_changes(eigenvalues, v[None] ** 2, rho)[0]
    # The eigenvalues that it is compared with have lost digits to the largest one.
    assert estimate == pytest.approx(expected, rel=1e-4, abs=1e-6 * float(np.sqrt(eigenvalues.max())))


def test_no_error_below_three_samples_and_for_a_constant_set() -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert frechet_estimate(x, x[:2]).standard_error is None
    constant = frechet_estimate(np.ones((4, 3)), x)
    assert constant.standard_error is not None
    assert constant.standard_error > 0.0


@pytest.mark.parametrize(("n", "m", "dimension"), [(10, 60, 200), (60, 80, 12)])
def test_coverage(n: int, m: int, dimension: int) -> None:
    # About the expectation at these counts. A formula that is off by a factor of two fails on either side.
    scale = np.arange(1, dimension + 1) ** -0.5
    trials = 200
    generator = np.random.default_rng(5)
    x = np.abs(generator.normal(size=(trials * n, dimension)) * scale)
    y = np.abs(generator.normal(size=(trials * m, dimension)) * scale * 1.1 + 0.1)
    labels = np.repeat(np.arange(trials), n), np.repeat(np.arange(trials), m)
    estimate = classwise_distances(x, labels[0], y, labels[1], trials)
    for values, errors in ((estimate.frechet, estimate.frechet_errors), (estimate.kernel, estimate.kernel_errors)):
        off = np.abs(np.array(values) - np.mean(values)) / np.array(errors, dtype=float)
        assert 0.88 <= float((off < 1.96).mean()) <= 0.995
        assert 0.7 <= float(np.std(values)) / float(np.mean(errors)) <= 1.3


@pytest.mark.parametrize("seed", [10, 477, 483])
def test_a_sample_that_alone_carries_a_direction(seed: int) -> None:
    """Badly scaled features of few samples: leaving one out takes a direction away, and the error stays a number."""
    generator = np.random.default_rng(seed)
    dimension = generator.integers(2, 9)
    n, m = generator.integers(3, 9, size=2)
    scale = 10.0 ** generator.uniform(-3, 3, size=dimension)
    offset = [0.0, 1.0, 1e4][seed % 3]
    x, y = (generator.normal(size=(count, dimension)) * scale + offset for count in (n, m))
    estimate = frechet_estimate(x, y).standard_error
    left_out = [
        np.array(
            [
                frechet_distance(*((np.delete(x, i, 0), y) if side == 0 else (x, np.delete(y, i, 0))))
                for i in range(count)
            ]
        )
        for side, count in enumerate((n, m))
    ]
    variance = sum(np.square(part - part.mean()).sum() * (len(part) - 1) / len(part) for part in left_out)
    assert estimate == pytest.approx(variance**0.5, rel=1e-3)
