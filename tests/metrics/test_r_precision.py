"""R-precision against a direct count over drawn pools, and what images that ignore their conditions score."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kdx2i.metrics.embedded_set import Answers, EmbeddedSet, GivenConditions
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.images.streams import TensorImages
from kdx2i.metrics.r_precision import condition_shares
from kdx2i.metrics.retrieval import win_rate, wins
from kdx2i.metrics.runs import embed_generated, run_scorer
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings

SETTINGS = EvaluationSettings(extractor="tests-random")
SIDE = 8


class Grey:
    """An encoder of grey levels: a condition is a level in 0 .. 255, and the nearest one fits best."""

    def agreement(self, images: Tensor, condition: Tensor) -> Tensor:
        assert float(images.min()) >= -1 and float(images.max()) <= 1
        levels = (images.mean((1, 2, 3)) + 1) * 127.5
        return -(levels[:, None] - condition[None, :]).abs().round(decimals=3)


def painted(levels: Tensor) -> Tensor:
    """Return images uint8 (N, 3, 8, 8) of one grey level each."""
    return levels.to(torch.uint8)[:, None, None, None].expand(-1, 3, SIDE, SIDE).contiguous()


def made(images: Tensor, given: Tensor, sources: Tensor | None = None) -> EmbeddedSet:
    """Return images with the levels (N,) that they were asked for, one or several a real image."""
    numbers = torch.arange(len(given)) if sources is None else sources
    labels = torch.zeros(len(images), dtype=torch.int64)
    conditions = GivenConditions(lambda index: given[index].float(), numbers)
    return EmbeddedSet(TensorImages(images, labels), labels, torch.zeros(len(images), 2), conditions=conditions)


@pytest.fixture
def scorer(extractor: Extractor) -> Scorer:
    images = painted(torch.arange(6) * 40)
    real = RealImages(images, torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.bool))
    return run_scorer(real, ["grey"], SETTINGS, extractor=extractor, matcher=Grey)


def value(scorer: Scorer, images: EmbeddedSet) -> dict[str, Any]:
    return scorer.score(images, ["R-precision"])["R-precision"]


def test_it_is_the_mean_over_all_pools_of_the_right_condition() -> None:
    given = torch.tensor([10.0, 50.0, 90.0, 130.0, 170.0])
    levels = torch.tensor([10, 80, 95, 20, 171])
    images = made(painted(levels), given)
    shares, _ = condition_shares(Answers(images.pixels(), images.conditions), Grey(), 3)
    for image, own in itertools.product(range(5), range(5)):
        pools = [(own, *others) for others in itertools.combinations(set(range(5)) - {own}, 2)]
        firsts = [min(pool, key=lambda c: abs(int(levels[image]) - float(given[c]))) == own for pool in pools]
        assert float(shares[image, own]) == pytest.approx(sum(firsts) / len(firsts))


def test_pairs_are_pools_of_two() -> None:
    given = torch.tensor([10.0, 50.0, 90.0, 130.0, 170.0])
    images = made(painted(torch.tensor([10, 80, 95, 110, 171])), given)
    shares, won = condition_shares(Answers(images.pixels(), images.conditions), Grey(), 2)
    assert win_rate(won)[0] == pytest.approx(float(shares.diagonal().mean()))
    # By hand: 80 is nearer to 90 than to its 50, and 110 as near to 90 as to its 130.
    assert won[1].tolist() == [1.0, 0.5, 0.0, 1.0, 1.0] and won[3].tolist() == [1.0, 1.0, 0.5, 0.5, 1.0]


def test_the_error_of_pairs_is_that_of_other_draws_of_images() -> None:
    """The jackknife's error, on average, against the spread of the value over independent draws."""
    rates, errors = [], []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        wanted = torch.rand(30, 4, generator=generator)
        shown = wanted + 1.5 * torch.rand(30, 4, generator=generator)
        rate, error = win_rate(wins(-torch.cdist(shown, wanted)))
        rates.append(rate)
        errors.append(error)
    spread = float(torch.tensor(rates).std())
    assert 0.05 > spread > 0.01
    assert 0.8 < sum(errors) / len(errors) / spread < 1.4


def test_images_that_follow_their_conditions_are_all_found(scorer: Scorer) -> None:
    levels = torch.arange(120) * 2
    entry = value(scorer, made(painted(levels), levels))
    assert entry["value"] == 100.0 and entry["candidates"] == 100 and entry["chance"] == pytest.approx(1.0)
    assert entry["interval"][1] == 100.0 and entry["interval"][0] > 95.0 and entry["n_generated"] == 120
    assert entry["pairs"] == {"value": 100.0, "standard_error": 0.0, "interval": [100.0, 100.0]}


def test_images_that_ignore_their_conditions_score_chance(scorer: Scorer) -> None:
    levels = torch.arange(120) * 2
    same = value(scorer, made(painted(torch.full((120,), 77)), levels))
    assert same["value"] == pytest.approx(same["chance"]) == pytest.approx(1.0)
    assert same["pairs"]["value"] == pytest.approx(50.0, abs=1.0)
    shuffled = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    wrong = value(scorer, made(painted(levels[shuffled]), levels))
    assert wrong["value"] <= wrong["chance_95"] < 5.0
    assert wrong["interval"][0] <= wrong["chance"] <= wrong["interval"][1]
    assert wrong["pairs"]["interval"][0] <= 50.0 <= wrong["pairs"]["interval"][1]


def test_the_interval_is_over_real_images_and_not_over_conditions(scorer: Scorer) -> None:
    """Two conditions an image: neither stands in the pool of the other, though both fit the same image."""
    levels = torch.arange(6) * 40
    twice = levels.repeat_interleave(2)
    entry = value(scorer, made(painted(twice), twice, torch.arange(6).repeat_interleave(2)))
    assert entry["value"] == 100.0 and entry["candidates"] == 6 and entry["n_generated"] == 12
    once = value(scorer, made(painted(levels), levels))
    assert entry["interval"] == once["interval"] and entry["chance"] == once["chance"] == 100 / 6


def test_rounds_are_averaged(scorer: Scorer) -> None:
    """The first conditions are followed, of the second ones those of a mirrored image: every other round is wrong."""
    levels = torch.arange(6) * 40
    asked = torch.stack([levels, levels], 1).flatten()
    shown = torch.stack([levels, levels.flip(0)], 1).flatten()
    entry = value(scorer, made(painted(shown), asked, torch.arange(6).repeat_interleave(2)))
    assert entry["value"] == pytest.approx(50.0)
    assert entry["standard_error"] == pytest.approx(0.0, abs=1e-9)


def test_conditions_of_training_have_values_of_their_own(scorer: Scorer) -> None:
    """A generator that follows what it was trained with and nothing else."""
    levels, learned = torch.arange(6) * 40, torch.arange(60) * 4
    images = made(painted(torch.full((6,), 77)), levels)
    seen = Answers(painted(learned), GivenConditions(lambda index: learned[index].float(), torch.arange(60)))
    entry = value(scorer, dataclasses.replace(images, training_answers=lambda: seen))
    assert {name: entry[name] for name in value(scorer, images)} == value(scorer, images)
    training = entry["training"]
    assert training["value"] == training["pairs"]["value"] == 100.0
    assert training["candidates"] == training["n_generated"] == 60
    one = Answers(painted(learned[:1]), GivenConditions(lambda index: learned[index].float(), torch.zeros(1)))
    assert "training" not in value(scorer, dataclasses.replace(images, training_answers=lambda: one))


def test_without_encoder_or_with_one_image_it_says_why(scorer: Scorer) -> None:
    images = made(painted(torch.tensor([3])), torch.tensor([3.0]))
    assert value(scorer, images)["reason"] == "R-precision needs the conditions of two images"
    scorer.matcher = None
    assert value(scorer, images)["reason"] == "there are no conditions, or no encoder of them"
    scorer.matcher = Grey
    plain = embed_generated(scorer, painted(torch.tensor([3, 4])), torch.zeros(2, dtype=torch.int64))
    assert value(scorer, plain)["reason"] == "there are no conditions, or no encoder of them"
    assert not any(math.isnan(v) for v in value(scorer, plain).values() if isinstance(v, float))
