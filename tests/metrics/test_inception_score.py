"""Inception Score: the libraries' numbers, its bounds, and an uncertainty that a simulation confirms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_fidelity.metric_isc import isc_features_to_metric

from kdx2i.errors import UserError
from kdx2i.metrics.inception.score import CONVENTIONS, convention, inception_score, parts, score_entry


def random_logits(count: int, classes: int, seed: int, scale: float = 4.0) -> Tensor:
    return scale * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("count", "splits", "shuffle"), [(203, 10, True), (203, 3, False), (40, 1, True), (7, 7, True)]
)
def test_equals_torch_fidelity(count: int, splits: int, shuffle: bool) -> None:
    logits = random_logits(count, 50, count)
    expected = isc_features_to_metric(logits, splits, shuffle, 2020)
    scored = inception_score(logits, splits=splits, shuffle_seed=2020 if shuffle else None)
    assert scored.mean == pytest.approx(expected["inception_score_mean"], rel=1e-9)
    if splits > 1:
        assert scored.std == pytest.approx(expected["inception_score_std"], rel=1e-9, abs=1e-9)


def test_one_split_is_the_difference_of_entropies() -> None:
    p = random_logits(300, 20, 0).double().softmax(1)
    q = p.mean(0)
    closed = math.exp(float(-(q * q.log()).sum() + (p * p.log()).sum(1).mean()))
    scored = inception_score(p.log(), splits=1)
    assert scored.mean == pytest.approx(closed, rel=1e-12)
    assert scored.std is None


def test_s2igan_drops_the_remainder() -> None:
    logits = random_logits(47, 12, 3)
    scores = []
    for part in logits.double().softmax(1)[:40].view(10, 4, 12).numpy():
        mean = part.mean(0)
        scores.append(np.exp(np.mean([(row * np.log(row / mean)).sum() for row in part])))
    scored = score_entry(logits, "s2igan", "inception-v3-torchvision")
    assert scored["value"] == pytest.approx(np.mean(scores), rel=1e-12)
    assert scored["standard_deviation"] == pytest.approx(np.std(scores), rel=1e-9)
    assert scored["bound"] == 4.0
    assert inception_score(logits, splits=10, remainder="drop").n == 40


def test_stackgan_leaves_out_the_background_class() -> None:
    logits = random_logits(60, 21, 4)
    scored = score_entry(logits, "stackgan-flowers", "stackgan-flowers")
    plain = isc_features_to_metric(logits[:, 1:], 10, True, 2020)
    assert scored["value"] == pytest.approx(plain["inception_score_mean"], rel=1e-9)


def test_many_rows_are_read_in_blocks() -> None:
    logits = random_logits(2500, 5, 1)

    class Rows:
        shape = logits.shape

        def __getitem__(self, rows: slice) -> Tensor:
            scored = logits[rows]
            assert len(scored) <= 1024
            return scored

    assert inception_score(Rows(), shuffle_seed=1) == inception_score(logits, shuffle_seed=1)


@given(
    st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
    st.integers(2, 9),
    st.sampled_from([0.0, 1.0, 30.0, 900.0]),
    st.sampled_from([None, 7]),
    st.sampled_from(["keep", "drop"]),
)
def test_lies_between_one_and_its_bound(sizes, classes, scale, seed, remainder) -> None:
    count, splits = sizes
    logits = random_logits(count, classes, count, scale)
    scored = inception_score(logits, splits=splits, shuffle_seed=seed, remainder=remainder)
    assert 1.0 - 1e-12 <= scored.mean <= scored.bound * (1 + 1e-12)
    assert scored.bound <= min(-(-count // splits), classes)
    assert scored.standard_error >= 0.0


@given(st.integers(2, 30), st.integers(0, 10**6))
def test_the_order_does_not_matter_to_one_part(count: int, seed: int) -> None:
    logits = random_logits(count, 6, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    once = inception_score(logits, splits=1)
    assert inception_score(logits[order], splits=1).mean == pytest.approx(once.mean, rel=1e-12)
    # Neither the shift that a softmax ignores nor the names of the classes.
    assert inception_score(logits.flip(1) + 3.0, splits=1).mean == pytest.approx(once.mean, rel=1e-6)


def test_the_bound_is_reached_by_certain_and_balanced_predictions() -> None:
    logits = 1e4 * torch.eye(8)[torch.arange(80) % 8]
    assert inception_score(logits, splits=10).mean == pytest.approx(8.0)
    assert inception_score(logits, splits=20).mean == inception_score(logits, splits=20).bound == 4.0
    assert inception_score(torch.zeros(80, 8), splits=10).mean == pytest.approx(1.0)


@pytest.mark.parametrize("splits", [1, 4])
def test_the_standard_error_is_that_of_new_images(splits: int) -> None:
    population = random_logits(40000, 10, 9, 2.0)
    draws = [inception_score(block, splits=splits) for block in population.split(400)]
    spread = float(np.std([draw.mean for draw in draws], ddof=1))
    stated = float(np.mean([draw.standard_error for draw in draws]))
    # The deviation of 100 draws is known to about 7 %.
    assert stated == pytest.approx(spread, rel=0.25)


def test_parts_keep_everything_or_equal_sizes() -> None:
    assert torch.bincount(parts(23, 5, None, "keep")).tolist() == [4, 5, 4, 5, 5]
    dropped = parts(23, 5, 3, "drop")
    assert torch.bincount(dropped[dropped >= 0]).tolist() == [4] * 5


def test_wrong_input_is_one_sentence() -> None:
    logits = random_logits(9, 4, 0)
    with pytest.raises(UserError, match="9 images cannot make 10 parts"):
        inception_score(logits)
    with pytest.raises(UserError, match="two or more classes"):
        inception_score(logits[:, :1], splits=2)
    with pytest.raises(UserError, match="not finite"):
        inception_score(logits.log(), splits=2)
    with pytest.raises(UserError, match="no Inception Score convention 'x'"):
        convention("x", "inception-v3-compat")
    for name in ("stackgan-cub", "stackgan-flowers"):
        with pytest.raises(UserError, match="TensorFlow checkpoint"):
            convention(name, "inception-v3-compat")
        assert convention(name, name) == CONVENTIONS[name]
    entry = score_entry(logits, "torch-fidelity", "efficientnet-lite0")
    assert entry["value"] is None
    assert "9 images" in entry["reason"]
