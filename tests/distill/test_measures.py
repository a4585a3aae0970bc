"""Measures of stage 1: what a perfect, a copying, a constant and a deaf student get, and the verdict."""

import math
from dataclasses import replace

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdx2i.distill import measures
from kdx2i.distill.measures import GALLERY, energy_distance, measure, retrieval, verdict


class Oracle:
    """A student whose image is `answer(style)`, where the style of an image is the image itself."""

    noise_dim = 4

    def __init__(self, answer):
        self.answer = answer

    def with_networks(self, networks):
        return self

    def encode(self, x):
        return x, {}

    def style_from_image(self, x):
        return x, {}

    def decode(self, content, style):
        return self.answer(style), {}


def measured(answer, mixing=True):
    """Measure a student whose images are `answer(triplets, rolled)`, by reference only, on one gallery."""
    distillation = tiny.distillation("kd" if mixing else "kd-no-mixing", guidance="reference")
    seen = []
    proper = distillation.draw

    def recording(*args, **options):
        seen.append(proper(*args, **options))
        return seen[-1]

    distillation.draw = recording
    distillation.student = Oracle(lambda style: answer(seen[-1], not torch.equal(style, seen[-1].x2)))
    distillation.transfer = replace(distillation.transfer, alignment=())
    return measure(distillation, 0, GALLERY)


def test_perfect_student_has_no_distance_full_response_and_retrieval():
    values = measured(lambda t, rolled: t.other_y if rolled else t.y)["guidance"]["reference"]
    assert values["l1"] == 0
    assert values["response"] == pytest.approx(1)
    assert values["retrieval"] == 100
    assert values["l1_shuffled"] > values["l1"]


def test_large_images_are_drawn_in_small_parts_and_measured_as_one_gallery(monkeypatch):
    # A hundred triplets of 256 px with the teacher's features would take 13 GB, and four times as much in the end.
    assert [measures.drawn_together(GALLERY, side) for side in (32, 64, 128, 256, 1024)] == [100, 100, 25, 5, 2]
    whole = measured(lambda t, rolled: t.y)["guidance"]["reference"]
    monkeypatch.setattr(measures, "PIXELS", 20 * 8**2)
    batches = []
    distillation = tiny.distillation(guidance="reference")
    proper = distillation.draw

    def recording(batch, **options):
        batches.append(batch)
        return proper(batch, **options)

    monkeypatch.setattr(distillation, "draw", recording)
    document = measure(distillation, 0, GALLERY)
    assert batches == [20] * 5 and document["triplets"] == GALLERY
    assert document["guidance"]["reference"]["l1_copy"] == pytest.approx(whole["l1_copy"], rel=0.2)
    images = [torch.rand(20, 3, 8, 8) for _ in range(10)]
    assert [
        torch.equal(g, torch.cat(images[5 * n : 5 * n + 5])) for n, g in enumerate(measures.in_galleries(images, 100))
    ] == [True, True]


def test_copying_student_scores_its_yardstick_and_does_not_respond():
    document = measured(lambda t, rolled: t.x1)
    values = document["guidance"]["reference"]
    assert values["l1"] == values["l1_copy"] == values["l1_shuffled"] > 0
    assert values["response"] == 0
    assert not verdict(document, aligned=True)[0]


def test_constant_student_is_retrieved_by_chance_and_no_constant_is_better_than_the_yardstick():
    for level in (-0.5, 0.0, 0.5):
        values = measured(lambda t, rolled, level=level: torch.full_like(t.y, level))["guidance"]["reference"]
        assert values["retrieval"] == pytest.approx(100 / GALLERY)
        assert values["l1"] >= values["l1_constant"]


def test_without_mixing_there_is_no_copy_and_no_response():
    values = measured(lambda t, rolled: t.y, mixing=False)["guidance"]["reference"]
    assert values["l1"] == 0
    assert values["l1_copy"] is None
    assert values["response"] is None


def test_measures_of_a_distillation_are_complete_repeatable_and_leave_it_alone():
    distillation = tiny.distillation()
    before = tiny.state_of(distillation.averages)
    document = measure(distillation, 3, GALLERY)
    assert measure(distillation, 3, GALLERY) == document
    assert measure(distillation, 4, GALLERY) != document
    assert not tiny.changed(before, tiny.state_of(distillation.averages))
    assert set(document["guidance"]) == {"reference", "latent"}
    assert set(document["alignment"]) == {"encoder", "style", "generator"}
    assert all(set(by_resolution) == {"4", "8"} for by_resolution in document["alignment"].values())
    numbers = [value for values in document["guidance"].values() for value in values.values()]
    assert all(math.isfinite(number) for number in numbers)
    assert document["distilled"] is False
    assert "alignment" not in measure(tiny.distillation("kd-adv"), 3, GALLERY)


def test_training_on_the_teacher_lowers_the_distance():
    distillation = tiny.distillation(learning_rate=1e-2, beta1=0.5, beta=1.0)
    before = measure(distillation, 0, GALLERY)["guidance"]["reference"]["l1"]
    for step in range(150):
        torch.manual_seed(step)
        distillation.training_step(step)
    distillation.averages = {n: m for n, m in distillation.networks.items() if n in distillation.averages}
    assert measure(distillation, 0, GALLERY)["guidance"]["reference"]["l1"] < 0.8 * before


@pytest.mark.parametrize("yardstick", ["l1_copy", "l1_constant", "l1_shuffled"])
@pytest.mark.parametrize("guidance", ["reference", "latent"])
def test_student_must_beat_every_yardstick_by_every_guidance(yardstick, guidance):
    values = {"l1": 0.2, "l1_copy": 0.3, "l1_constant": 0.3, "l1_shuffled": 0.3}
    document = {"guidance": {"reference": dict(values), "latent": dict(values)}}
    assert verdict(document, aligned=True)[0]
    document["guidance"][guidance][yardstick] = 0.2
    distilled, reason = verdict(document, aligned=True)
    assert not distilled
    assert reason == f"by {guidance}, L1 0.200 against 0.200 ({yardstick.removeprefix('l1_')})"


def test_without_alignment_the_images_as_a_whole_decide():
    for energy in (0.1, 0.3):
        document = {"energy": energy, "energy_blend": 0.2, "guidance": {}}
        assert verdict(document, aligned=False)[0] == (energy < 0.2)


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(2, 6))
def test_energy_distance_is_its_definition(seed, n, m):
    torch.manual_seed(seed)
    a, b = torch.rand(n, 3, 2, 2), torch.rand(m, 3, 2, 2)

    def mean(x, y, skip):
        pairs = [
            float((p - q).double().square().mean().sqrt())
            for i, p in enumerate(x)
            for j, q in enumerate(y)
            if not (skip and i == j)
        ]
        return sum(pairs) / len(pairs)

    expected = 2 * mean(a, b, False) - mean(a, a, True) - mean(b, b, True)
    assert energy_distance(a, b) == pytest.approx(expected, abs=1e-5)


def test_retrieval_is_the_share_whose_nearest_is_their_own():
    targets = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    drawn = targets.clone()
    assert retrieval(drawn, targets) == 1
    drawn[0], drawn[1] = 1.2, 0.1
    assert retrieval(drawn, targets) == 0.5
