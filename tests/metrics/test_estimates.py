"""Intervals of per-image quantities and of means over classes."""

import numpy as np
import pytest

from kdx2i.errors import UserError
from kdx2i.metrics.distances.estimates import bootstrap_mean, mean_estimate, normal_estimate, resample


def test_resampling_is_seeded() -> None:
    drawn = resample(5, 7, seed=3)
    assert drawn.shape == (7, 5)
    assert set(drawn.flatten().tolist()) <= set(range(5))
    assert np.array_equal(drawn, resample(5, 7, seed=3))
    assert not np.array_equal(drawn, resample(5, 7, seed=4))


def test_bootstrap_of_a_mean() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    estimate = bootstrap_mean(values, replicates=4000)
    error = float(values.std(ddof=1)) / 20.0
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.standard_error == pytest.approx(error, rel=0.06)
    assert (estimate.low, estimate.high) == pytest.approx(
        (estimate.value - 1.96 * error, estimate.value + 1.96 * error), abs=error / 3
    )
    assert estimate == bootstrap_mean(values, replicates=4000)


def test_coverage_of_accuracies() -> None:
    generator = np.random.default_rng(1)
    inside = 0
    for seed in range(200):
        estimate = bootstrap_mean(generator.random(80) < 0.7, replicates=300, seed=seed)
        inside += estimate.low <= 0.7 <= estimate.high
    assert 0.88 <= inside / 200 <= 0.99


def test_means_and_single_values() -> None:
    assert mean_estimate([1.0, 3.0], [0.3, 0.4]).standard_error == pytest.approx(0.25)
    assert mean_estimate([1.0, 3.0], [0.3, None]).low is None
    assert normal_estimate(2.0, None).high is None
    assert bootstrap_mean([0.5]).standard_error is None


def test_wrong_input_is_one_sentence() -> None:
    for wrong in ([], [np.nan], [[1.0]]):
        with pytest.raises(UserError, match="finite values"):
            bootstrap_mean(wrong)
    with pytest.raises(UserError, match="one error a value"):
        mean_estimate([1.0], [])
