"""Class-wise distances from one Gram matrix: equal to the distances of each class, their errors, their means."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.errors import UserError
from kdx2i.metrics.distances import classwise
from kdx2i.metrics.distances.classwise import classwise_distances
from kdx2i.metrics.distances.frechet import frechet_distance
from kdx2i.metrics.distances.frechet_error import frechet_estimate
from kdx2i.metrics.distances.kernel import kernel_estimate
from kdx2i.metrics.images.stored_matrix import StoredMatrix


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw two labelled sets of two classes with features of any scale, near or far from zero, in any order."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dimension = draw(st.integers(1, 30))
    offset = draw(st.sampled_from([0.0, 1.0, 1e4]))
    scale = 10.0 ** generator.uniform(-3, 3, size=dimension) if draw(st.booleans()) else np.ones(dimension)
    computed = []
    for _ in range(2):
        counts = [draw(st.integers(2, 8)) for _ in range(2)]
        labels = generator.permutation(np.repeat([0, 1], counts))
        computed += [generator.normal(size=(len(labels), dimension)) * scale + offset, labels]
    return computed[0], computed[1], computed[2], computed[3]


@settings(max_examples=50, deadline=None)
@given(labelled())
def test_each_class_by_itself(sets: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, x_labels, y, y_labels = sets
    computed = classwise_distances(x, x_labels, y, y_labels, 2)
    for label in range(2):
        pair = x[x_labels == label], y[y_labels == label]
        spread = sum(float(part.var(0).sum()) for part in pair)
        frechet, kernel = frechet_estimate(*pair), kernel_estimate(*pair)
        assert computed.frechet[label] == pytest.approx(frechet.value, rel=1e-9, abs=1e-12 * spread)
        size = 1.0 + float(np.square(np.concatenate(pair)).sum(1).max()) / x.shape[1]
        assert computed.kernel[label] == pytest.approx(kernel.value, abs=1e-12 * size**3)
        if min(map(len, pair)) < 3:
            assert computed.frechet_errors[label] is None
            assert computed.kernel_errors[label] is None
        else:
            # The estimate's grid of the integral differs with what counts as the largest eigenvalue.
            assert computed.frechet_errors[label] == pytest.approx(frechet.standard_error, rel=1e-4, abs=1e-7 * spread)
            assert computed.kernel_errors[label] == pytest.approx(kernel.standard_error, rel=1e-6, abs=1e-12 * size**3)


def test_nearly_equal_classes_keep_their_digits() -> None:
    x = np.random.default_rng(3).normal(size=(6, 40))
    y = x + 1e-7 * np.random.default_rng(4).normal(size=(6, 40))
    computed = classwise_distances(x, np.zeros(6, int), y, np.zeros(6, int), 1).frechet[0]
    assert computed == pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert classwise_distances(x, np.zeros(6, int), x, np.zeros(6, int), 1).frechet[0] < 1e-25


def test_input_kinds_and_sizes_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(count, 9)).astype(np.float32) for count in (30, 42))
    labels = np.arange(30) % 3, np.arange(42) % 3
    plain = classwise_distances(x, labels[0], y, labels[1], 3)
    tensors = [torch.from_numpy(part) for part in (x, labels[0], y, labels[1])]
    assert classwise_distances(*tensors, 3) == plain
    in_rows = classwise_distances(StoredMatrix(tensors[0]), labels[0], StoredMatrix(tensors[2]), labels[1], 3)
    assert in_rows == plain
    quick = classwise_distances(x, labels[0], y, labels[1], 3, errors=False)
    assert quick.frechet == pytest.approx(plain.frechet, rel=1e-12)
    assert (quick.kernel, quick.kernel_errors) == (plain.kernel, [None] * 3)
    monkeypatch.setattr(classwise, "LARGE_CLASS", 4)
    large = classwise_distances(x, labels[0], y, labels[1], 3)
    for name in ("frechet", "kernel", "frechet_errors", "kernel_errors"):
        assert getattr(large, name) == pytest.approx(getattr(plain, name), rel=1e-6)


def test_means_and_classes_without_images() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(12, 5)), generator.normal(size=(12, 5))
    labels = np.repeat([0, 1], 6)
    computed = classwise_distances(x, labels, y, labels, 2)
    mean = computed.mean_frechet()
    assert mean is not None
    assert mean.value == pytest.approx(np.mean(computed.frechet))
    assert mean.standard_error == pytest.approx(np.linalg.norm(computed.frechet_errors) / 2)
    assert mean.low == pytest.approx(mean.value - 1.959964 * mean.standard_error)
    short = classwise_distances(x, labels, y[:7], labels[:7], 3)
    assert short.frechet[1:] == short.kernel[1:] == [None, None]
    assert (short.first_counts, short.second_counts) == ([6, 6, 0], [6, 1, 0])
    assert short.mean_frechet() is None
    assert short.mean_kernel() is None


def test_wrong_input_is_one_sentence() -> None:
    x, labels = np.ones((4, 3)), np.zeros(4, int)
    for features, index, words in [
        (x, labels[:3], "4 samples and 3 labels"),
        (x, labels + 2, "outside the 2 classes"),
        (x, labels / 2, "one integer a sample"),
        (np.full((4, 3), np.inf), labels, "not finite"),
        (x[:, :2], labels, "dimensions"),
    ]:
        with pytest.raises(UserError, match=words):
            classwise_distances(x, labels, features, index, 2)
