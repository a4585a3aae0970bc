"""The kernel distance against its definition, exhaustive enumeration and both libraries' subsets."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanfid.fid import kernel_distance as clean_fid_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from kdx2i.errors import UserError
from kdx2i.metrics.distances import kernel
from kdx2i.metrics.distances.kernel import (
    kernel_distance,
    kernel_distance_per_class,
    kernel_distance_subsets,
    kernel_estimate,
    standard_error,
)
from kdx2i.metrics.distances.subsets import clean_fid_subsets, torch_fidelity_subsets
from kdx2i.metrics.images.stored_matrix import StoredMatrix


def textbook(x: np.ndarray, y: np.ndarray) -> float:
    """Return the double sums of the definition, in plain Python."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / len(a) + 1.0) ** 3

    inside = [
        sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    return inside[0] + inside[1] - 2.0 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


def sample(seed: int, count: int, dimension: int = 6) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(size=(count, dimension)))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.integers(2, 7), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_definition_and_properties(n: int, m: int, dimension: int, seed: int) -> None:
    x, y = sample(seed, n, dimension), 1.2 * sample(seed + 1, m, dimension)
    value = kernel_distance(x, y)
    assert value == pytest.approx(textbook(x, y), rel=1e-9, abs=1e-11)
    assert kernel_distance(y, x) == pytest.approx(value, abs=1e-11)
    generator = np.random.default_rng(seed)
    assert kernel_distance(generator.permutation(x), generator.permutation(y)) == pytest.approx(value, abs=1e-11)
    rotation = np.linalg.qr(generator.normal(size=(dimension, dimension)))[0]
    assert kernel_distance(x @ rotation, y @ rotation) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_mean_over_all_subsets(size: int) -> None:
    x, y = sample(1, 5), sample(2, 6) + 0.2
    pairs = list(itertools.product(itertools.combinations(range(5), size), itertools.combinations(range(6), size)))
    computed = kernel_distance_subsets(x, y, [a for a, _ in pairs], [b for _, b in pairs])
    assert float(computed.mean()) == pytest.approx(kernel_distance(x, y), rel=1e-12)


def test_unbiased_under_resampling() -> None:
    # Both sets from one distribution: the mean over draws is zero within its own standard error.
    values = [kernel_distance(sample(2 * s, 8), sample(2 * s + 1, 12)) for s in range(400)]
    error = standard_error(values)
    assert error is not None
    assert abs(sum(values) / len(values)) < 4 * error


def test_torch_fidelity_subsets() -> None:
    x, y = sample(1, 40, 32), sample(2, 50, 32)
    resampled = kernel_distance_subsets(x, y, *torch_fidelity_subsets(40, 50, subsets=20, size=10))
    library_value = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=20, kid_subset_size=10, rng_seed=2020, verbose=False
    )
    assert float(resampled.mean()) == pytest.approx(library_value[KEY_METRIC_KID_MEAN], abs=1e-9)
    assert float(resampled.std(correction=0)) == pytest.approx(library_value[KEY_METRIC_KID_STD], abs=1e-9)


@pytest.mark.parametrize(("largest", "size"), [(1000, 25), (7, 7)])
def test_clean_fid_subsets(largest: int, size: int) -> None:
    x, y = sample(1, 30, 32), sample(2, 25, 32)
    subsets = clean_fid_subsets(30, 25, seed=11, subsets=20, largest=largest)
    assert subsets[0].shape == subsets[1].shape == (20, size)
    np.random.seed(11)
    library_value = clean_fid_distance(x, y, num_subsets=20, max_subset_size=largest)
    assert float(kernel_distance_subsets(x, y, *subsets).mean()) == pytest.approx(library_value, abs=1e-9)


def test_subsets_larger_than_a_set_are_refused() -> None:
    with pytest.raises(UserError, match="there are 40 and 9"):
        torch_fidelity_subsets(40, 9, size=10)
    x = sample(1, 4)
    with pytest.raises(UserError, match="outside the 4 rows"):
        kernel_distance_subsets(x, x, [[0, 4]], [[0, 1]])


def test_a_sample_drawn_twice_counts_twice() -> None:
    x, y = sample(1, 5), sample(2, 5)
    index = [[0, 0, 3, 4]]
    computed = kernel_distance_subsets(x, y, index, index)
    assert float(computed[0]) == pytest.approx(textbook(x[index[0]], y[index[0]]), rel=1e-12)


def test_rows_in_a_file(tmp_path: Path) -> None:
    x, y = (sample(seed, count, 12).astype(np.float32) for seed, count in ((1, 30), (2, 40)))
    stored = []
    for name, features in (("x", x), ("y", y)):
        (tmp_path / name).write_bytes(features.tobytes())
        stored.append(StoredMatrix.within((tmp_path / name).open("rb", buffering=0), 0, features.shape))
    assert kernel_estimate(*stored) == kernel_estimate(x, y)


def test_larger_shifts_lie_farther() -> None:
    x = sample(1, 20)
    values = [kernel_distance(x, sample(2, 20) + shift) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = sample(1, 9), sample(2, 8)
    whole = kernel_estimate(x, y)
    monkeypatch.setattr(kernel, "_BLOCK", 2)
    parts = kernel_estimate(x, y)
    assert parts.value == pytest.approx(whole.value, abs=1e-12)
    assert parts.standard_error == pytest.approx(whole.standard_error, rel=1e-9)


def test_jackknife_by_leaving_each_image_out() -> None:
    x, y = sample(1, 6), sample(2, 5)
    variance = 0.0
    for resampled, other in ((x, y), (y, x)):
        left = np.array([kernel_distance(np.delete(resampled, i, axis=0), other) for i in range(len(resampled))])
        variance += ((left - left.mean()) ** 2).sum() * (len(resampled) - 1) / len(resampled)
    assert kernel_estimate(x, y).standard_error == pytest.approx(variance**0.5, rel=1e-9)
    assert kernel_estimate(x[:2], y).standard_error is None


def test_classes_and_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = sample(1, 12), sample(2, 15)
    labels = np.arange(12) % 3, np.arange(15) % 3
    computed = kernel_distance_per_class(x, labels[0], y, labels[1], 3)
    expected = [kernel_distance(x[labels[0] == c], y[labels[1] == c]) for c in range(3)]
    assert computed == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(kernel, "LARGE_CLASS", 3)
    assert kernel_distance_per_class(x, labels[0], y, labels[1], 3) == pytest.approx(expected, rel=1e-12)
    assert standard_error(computed) == pytest.approx(np.std(computed, ddof=1) / 3**0.5)
    assert standard_error([1.0]) is None


def test_wrong_input_is_one_sentence() -> None:
    x = sample(1, 4)
    with pytest.raises(UserError, match="at least 2"):
        kernel_distance(x, x[:1])
    for first, second in (([[0]], [[0]]), ([[0, 1]], [[0, 1, 2]])):
        with pytest.raises(UserError, match="subset"):
            kernel_distance_subsets(x, x, first, second)
