"""The Frechet distance against 50 digits, textbook float64, both libraries, and its own properties."""

import warnings
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from cleanfid.fid import fid_from_feats
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from kdx2i.errors import UserError
from kdx2i.metrics.distances import frechet
from kdx2i.metrics.distances.frechet import frechet_distance, frechet_distance_per_class
from kdx2i.metrics.images.stored_matrix import StoredMatrix


def mp_reference(x: np.ndarray, y: np.ndarray) -> float:
    """Return the textbook formula with 50 digits, through symmetric eigenvalue problems."""
    with mpmath.workdps(60):
        stats = []
        for features in (x, y):
            rows = mpmath.matrix(features.tolist())
            mean = [mpmath.fsum(rows[:, j]) / rows.rows for j in range(rows.cols)]
            centred = mpmath.matrix(rows.rows, rows.cols)
            for i in range(rows.rows):
                for j in range(rows.cols):
                    centred[i, j] = rows[i, j] - mean[j]
            stats.append((mean, centred.T * centred / (rows.rows - 1)))
        (m1, s1), (m2, s2) = stats
        values, vectors = mpmath.eigsy(s1)
        root = mpmath.diag([mpmath.sqrt(max(value, 0)) for value in values])
        middle = root * vectors.T * s2 * vectors * root
        inner = mpmath.eigsy((middle + middle.T) / 2, eigvals_only=True)
        trace = mpmath.fsum(mpmath.sqrt(max(value, 0)) for value in inner)
        total = mpmath.fsum((a - b) ** 2 for a, b in zip(m1, m2, strict=True)) - 2 * trace
        return float(total + mpmath.fsum(s1[i, i] + s2[i, i] for i in range(s1.rows)))


def scipy_reference(x: np.ndarray, y: np.ndarray) -> float:
    """Return the textbook formula in float64, for covariances of full rank."""
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s1)
    middle = np.linalg.eigvalsh(root @ s2 @ root)
    shift = x.mean(0) - y.mean(0)
    return float(shift @ shift + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(middle.clip(0)).sum())


def library_features(count: int, dimension: int, seed: int) -> np.ndarray:
    """Return non-negative features with a decaying spectrum, like those of a pooled network layer."""
    generator = np.random.default_rng(seed)
    scale = np.arange(1, dimension + 1) ** -0.5
    return np.abs(generator.normal(size=(count, dimension)) * scale + 0.3)


@st.composite
def feature_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw two small feature sets: random, low-rank, with duplicated rows, badly scaled or far from zero."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dimension = draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["random", "low-rank", "duplicated", "scaled", "offset"]))
    pair = []
    for count in (draw(st.integers(2, 6)), draw(st.integers(2, 6))):
        features = generator.normal(size=(count, dimension))
        if kind == "low-rank":
            features = generator.normal(size=(count, 1)) @ generator.normal(size=(1, dimension))
        elif kind == "duplicated":
            features = features[generator.integers(0, max(1, count // 2), count)]
        elif kind == "scaled":
            features = features * 10.0 ** generator.uniform(-4, 4, size=dimension)
        elif kind == "offset":
            features = features + 1e4
        pair.append(features)
    return pair[0], pair[1]


@settings(max_examples=60, deadline=None)
@given(feature_sets())
def test_fifty_digits(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = mp_reference(*pair)
    scale = float(np.abs(np.concatenate(pair)).max()) ** 2
    assert frechet_distance(*pair) == pytest.approx(expected, rel=1e-9, abs=1e-20 * scale)


def test_fifty_digits_of_nearly_equal_sets() -> None:
    # The trace form would lose all digits here: 1e-14 against traces of 10.
    x = np.random.default_rng(3).normal(size=(6, 4))
    y = x + 1e-8 * np.random.default_rng(4).normal(size=(6, 4))
    assert frechet_distance(x, y) == pytest.approx(mp_reference(x, y), rel=1e-6)


@pytest.mark.parametrize(("n1", "n2"), [(60, 60), (30, 200), (14, 15)])
def test_textbook_at_full_rank(n1: int, n2: int) -> None:
    x, y = library_features(n1, 12, 1), 1.3 * library_features(n2, 12, 2)
    assert frechet_distance(x, y) == pytest.approx(scipy_reference(x, y), rel=1e-9)


@pytest.mark.parametrize(
    ("n1", "n2", "dimension", "tolerance"),
    [(10, 10, 256, 5e-5), (10, 100, 256, 5e-5), (100, 20, 256, 5e-5), (200, 300, 48, 1e-9)],
)
def test_both_libraries(n1: int, n2: int, dimension: int, tolerance: float) -> None:
    # Below full rank the libraries come out low by about 1e-5 (square roots of rounding noise).
    x, y = library_features(n1, dimension, 5), library_features(n2, dimension, 6) * 1.1
    value = frechet_distance(x, y)
    statistics = [fid_features_to_statistics(torch.from_numpy(features)) for features in (x, y)]
    assert fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID] == pytest.approx(value, rel=tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy: singular matrix; disp is deprecated
        assert fid_from_feats(x, y) == pytest.approx(value, rel=tolerance)


@settings(max_examples=40, deadline=None)
@given(feature_sets(), st.integers(0, 2**32 - 1))
def test_properties(pair: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    x, y = pair
    generator = np.random.default_rng(seed)
    value = frechet_distance(x, y)
    spread = sum(float(np.cov(features, rowvar=False, ddof=1).trace()) if features.shape[1] > 1
                 else float(features.var(ddof=1)) for features in pair)  # fmt: skip
    slack = 1e-9 * (value + spread) + 1e-10
    assert value >= 0.0
    assert frechet_distance(y, x) == pytest.approx(value, abs=slack)
    shuffled = generator.permutation(x), generator.permutation(y)
    assert frechet_distance(*shuffled) == pytest.approx(value, abs=slack)
    # A rotation and a common shift round the features themselves, at their magnitude.
    rotation = np.linalg.qr(generator.normal(size=(x.shape[1],) * 2))[0]
    rounding = 1e-13 * float(np.abs(np.concatenate(pair)).max()) ** 2 + 1e-6 * spread
    assert frechet_distance(x @ rotation, y @ rotation) == pytest.approx(value, abs=slack + rounding)
    assert frechet_distance(3.0 * x, 3.0 * y) == pytest.approx(9.0 * value, abs=9 * slack)
    shift = float(np.square(x.mean(0) - y.mean(0)).sum())
    assert value <= shift + spread + slack


@settings(max_examples=30, deadline=None)
@given(feature_sets(), st.floats(-100, 100))
def test_equal_and_shifted_sets(pair: tuple[np.ndarray, np.ndarray], shift: float) -> None:
    x, _ = pair
    scale = float(np.abs(x).max()) + 1.0
    assert frechet_distance(x, x) < 1e-14 * scale**2
    assert frechet_distance(x, x + shift) == pytest.approx(x.shape[1] * shift**2, rel=1e-9, abs=1e-18 * scale**2)


def test_duplicated_rows_change_only_the_degrees_of_freedom() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(7, 9)), generator.normal(size=(8, 9))
    x -= x.mean(0) - y.mean(0)
    twice = (y - y.mean(0)) * np.sqrt(15 / 14) + y.mean(0)  # undoes the factor 2 * 7 / 15 of ddof = 1
    assert frechet_distance(x, np.concatenate([twice, twice])) == pytest.approx(frechet_distance(x, y), rel=1e-12)


@pytest.mark.parametrize(("n1", "n2", "dimension"), [(20, 30, 100), (20, 90, 40), (50, 70, 40), (40, 41, 40)])
@pytest.mark.parametrize("kind", ["full", "low-rank", "duplicated", "scaled", "dead", "near"])
def test_both_routes_agree(n1: int, n2: int, dimension: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever the eigenvalue route lets pass must be right; what it loses must be noticed.
    x, y = library_features(n1, dimension, 1), library_features(n2, dimension, 2)
    if kind == "low-rank":
        x, y = (part[:, :3] @ np.random.default_rng(3).normal(size=(3, dimension)) for part in (x, y))
    elif kind == "duplicated":
        x, y = np.repeat(x[: n1 // 2], 2, axis=0), y
    elif kind == "scaled":
        scale = 10.0 ** np.random.default_rng(3).uniform(-4, 4, dimension)
        x, y = x * scale, y * scale
    elif kind == "dead":
        x[:, ::3], y[:, ::4] = 0.7, 0.0
    elif kind == "near":
        y = x[np.arange(n2) % n1] + 1e-7 * y
    expected = frechet_distance(x, y)
    monkeypatch.setattr(frechet, "_SMALL", 0)
    monkeypatch.setattr(frechet, "_BLOCK", 16)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("n1", "n2"), [(20, 30), (20, 90), (70, 60)])
def test_eigenvalues_suffice_for_ordinary_features(n1: int, n2: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The slow route is for hard cases only.
    x, y = library_features(n1, 40, 1), 1.1 * library_features(n2, 40, 2)
    expected = frechet_distance(x, y)
    monkeypatch.setattr(frechet, "_SMALL", 0)
    monkeypatch.delattr(frechet, "_residual")
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_rows_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (library_features(count, 12, seed).astype(np.float32) for seed, count in ((1, 30), (2, 50)))
    stored = []
    for name, features in (("x", x), ("y", y)):
        (tmp_path / name).write_bytes(features.tobytes())
        stored.append(StoredMatrix.within((tmp_path / name).open("rb", buffering=0), 0, features.shape))
    expected = frechet_distance(x, y)
    assert frechet_distance(*stored) == expected
    monkeypatch.setattr(frechet, "_BLOCK", 7)
    assert frechet_distance(*stored) == pytest.approx(expected, rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(feature_sets())
def test_bounds_and_growth_with_the_shift(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    means = float(np.square(x.mean(0) - y.mean(0)).sum())
    traces = [float(part.var(0, ddof=1).sum()) for part in pair]
    value = frechet_distance(x, y)
    scale = float(np.square(np.concatenate(pair)).max()) + 1.0
    slack = 1e-12 * scale + 1e-9 * value
    assert value >= means + (traces[0] ** 0.5 - traces[1] ** 0.5) ** 2 - slack
    assert value <= means + sum(traces) + slack
    away = y - y.mean(0) + x.mean(0)
    step = np.ones(x.shape[1]) * scale**0.5
    grown = [frechet_distance(x, away + times * step) for times in (0.0, 1.0, 2.0)]
    assert grown == sorted(grown)


def test_classes() -> None:
    x, y = library_features(30, 20, 1), library_features(45, 20, 2)
    labels = np.arange(30) % 3, np.arange(45) % 3
    computed = frechet_distance_per_class(x, labels[0], y, labels[1], 3)
    expected = [frechet_distance(x[labels[0] == c], y[labels[1] == c]) for c in range(3)]
    assert computed == pytest.approx(expected, rel=1e-12)
    near = x + 1e-7 * np.random.default_rng(4).normal(size=x.shape)
    computed = frechet_distance_per_class(x, labels[0], near, labels[0], 3)
    expected = [frechet_distance(x[labels[0] == c], near[labels[0] == c]) for c in range(3)]
    assert computed == pytest.approx(expected, rel=1e-12)
    with pytest.raises(UserError, match="not finite"):
        frechet_distance_per_class(np.full_like(x, np.inf), labels[0], y, labels[1], 3)


def test_wrong_input_is_one_sentence() -> None:
    good = np.zeros((3, 4))
    for bad, words in [
        (np.zeros((1, 4)), "at least 2"),
        (np.zeros((3, 5)), "dimensions"),
        (np.full((3, 4), np.nan), "not finite"),
        (np.zeros(3), "expected"),
    ]:
        with pytest.raises(UserError, match=words):
            frechet_distance(good, bad)
