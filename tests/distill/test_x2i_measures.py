"""Measures of section 3.3's students: what a perfect, a deaf and a constant student get, the verdict, and learning."""

import math

import conditional_tiny as ct
import pytest
import tiny
import torch

from kdx2i.distill import measures
from kdx2i.distill.measures import GALLERY
from kdx2i.distill.x2i_measures import CONDITION, measure, verdict


class Oracle:
    """A student that draws `answer(pairs, is of y, rolled c, rolled first, with first)`."""

    noise_dim = ct.NOISE

    def __init__(self, distillation, answer):
        self.distillation, self.answer = distillation, answer
        self.pairs = self.codes = None

    def with_networks(self, networks):
        return self

    def generate(self, noise, c, first):
        d, pairs = self.distillation, self.pairs
        c_x, c_y = (d.pseudo_condition(images) for images in (pairs.x1, pairs.y))
        feature = d.first_feature(pairs.features_x[8])

        def near(a, b):
            return torch.allclose(a, b, atol=1e-5)

        of_y = near(c, c_y) or near(c, c_y.roll(-1, 0))
        rolled = near(c, c_x.roll(-1, 0)) or near(c, c_y.roll(-1, 0))
        return self.answer(pairs, of_y, rolled, first is not None and not near(first, feature), first is not None), {}


def measured(answer):
    """Measure a student whose images are `answer(...)` on one gallery."""
    distillation = ct.distillation("kd-adv")
    oracle, proper = Oracle(distillation, answer), distillation.draw

    def recording(*args, **options):
        oracle.pairs = proper(*args, **options)
        return oracle.pairs

    distillation.draw, distillation.student = recording, oracle
    return measure(distillation, 0, GALLERY)["guidance"][CONDITION]


def test_a_perfect_student_has_no_distance_full_response_direction_and_retrieval():
    def perfect(p, of_y, rolled_c, rolled_first, with_first):
        image = p.y if of_y else p.x1
        if not with_first:
            return image * 0.5
        return image.roll(-1, 0) if rolled_c or rolled_first else image

    values = measured(perfect)
    assert values["l1"] == 0
    assert values["response"] == pytest.approx(1)
    assert values["direction"] == pytest.approx(1)
    assert values["retrieval"] == 100
    assert values["l1_shuffled"] == values["l1_wrong_first"] > 0
    assert 0 < values["l1_without_first"] < values["l1_wrong_first"]
    assert values["difference"] == pytest.approx(values["difference_teacher"])


def test_large_images_are_drawn_in_small_parts_and_measured_as_one_gallery(monkeypatch):
    monkeypatch.setattr(measures, "PIXELS", 20 * 16**2)
    distillation = ct.distillation()
    proper, batches = distillation.draw, []
    monkeypatch.setattr(
        distillation, "draw", lambda batch, **options: batches.append(batch) or proper(batch, **options)
    )
    values = measure(distillation, 0, GALLERY)["guidance"][CONDITION]
    assert batches == [20] * 5
    assert (2 * values["retrieval"]) in range(201) and values["l1"] == pytest.approx(values["l1_undistilled"])
    few = measure(distillation, 0, 2)
    assert few["triplets"] == 2 and few["guidance"][CONDITION]["retrieval"] in (0, 25, 50, 75, 100)


def test_a_student_that_is_deaf_to_c_has_no_response():
    values = measured(lambda p, *_: p.x1)
    assert (values["response"], values["direction"], values["difference"]) == (0, 0, 0)
    assert values["l1"] == values["l1_shuffled"] == values["l1_wrong_first"] > 0


def test_a_student_of_constants_is_no_better_than_the_median_and_retrieves_by_chance():
    values = measured(lambda p, *_: torch.full_like(p.y, 0.1))
    assert values["l1"] >= values["l1_constant"]
    assert values["retrieval"] == pytest.approx(100 / GALLERY)


def test_the_opposite_difference_has_the_opposite_direction():
    values = measured(lambda p, of_y, *_: p.x1 if of_y else p.y)
    assert values["direction"] == pytest.approx(-1)
    assert values["response"] == pytest.approx(1)


GOOD = {
    "l1": 0.2,
    "l1_undistilled": 0.6,
    "l1_constant": 0.3,
    "l1_shuffled": 0.3,
    "l1_wrong_first": 0.3,
    "retrieval": 40,
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "nearer to the teacher's images than every yardstick, retrieval at least ten times chance"),
        ({"l1_undistilled": 0.2}, "L1 0.200 against 0.200 (undistilled)"),
        ({"l1_constant": 0.1}, "L1 0.200 against 0.100 (constant)"),
        ({"l1_shuffled": 0.2}, "L1 0.200 against 0.200 (wrong condition)"),
        ({"l1_wrong_first": 0.2}, "L1 0.200 against 0.200 (wrong first feature)"),
        ({"retrieval": 9.0}, "retrieval 9 %, less than ten times chance"),
    ],
)
def test_a_student_must_beat_every_yardstick(changes, reason):
    distilled, found = verdict({"triplets": GALLERY, "guidance": {CONDITION: GOOD | changes}}, aligned=True)
    assert (distilled, found) == (not changes, reason)


def test_without_eq_6_the_images_as_a_whole_decide():
    assert [verdict({"energy": e, "energy_blend": 0.2}, aligned=False)[0] for e in (0.1, 0.3)] == [True, False]


def test_measures_are_complete_repeatable_and_leave_the_distillation_alone():
    distillation = ct.distillation()
    distillation.training_step(0)
    before = tiny.state_of({**distillation.networks, **{f"a{n}": m for n, m in distillation.averages.items()}})
    document = measure(distillation, 3, GALLERY)
    assert measure(distillation, 3, GALLERY) == document
    assert measure(distillation, 4, GALLERY) != document
    after = tiny.state_of({**distillation.networks, **{f"a{n}": m for n, m in distillation.averages.items()}})
    assert not tiny.changed(before, after)
    values = document["guidance"][CONDITION]
    assert values.pop("l1_copy") is None
    assert all(math.isfinite(value) for value in values.values())
    assert set(document["alignment"]["generator"]) == {"16"}
    # The averages have not moved yet: the student that is measured is the undistilled one.
    assert values["l1"] == pytest.approx(values["l1_undistilled"])
    assert document["distilled"] is False


def test_constant_conditions_are_reported_as_what_they_are():
    document = measure(ct.distillation("kd-constant-condition"), 0, GALLERY)
    values = document["guidance"][CONDITION]
    assert values["response"] == 0
    assert values["l1"] == values["l1_shuffled"]
    assert "(wrong condition)" in document["reason"]


def learned(transfer, steps=200, **changes):
    """Train on four batches, over and over; return the distillation and the image part of eq. (6), first and last."""
    settings = {"learning_rate": 1e-2, "beta1": 0.5, "beta2": 0.99, "beta": 1.0, "lambda_adv": 0.02}
    distillation = ct.distillation(transfer, **(settings | changes))
    losses = []
    for step in range(steps):
        torch.manual_seed(step % 4)
        losses.append(float(distillation.training_step(step)["image"].detach()))
    distillation.averages = {n: m.eval() for n, m in distillation.networks.items() if n in distillation.averages}
    return distillation, sum(losses[:4]) / 4, sum(losses[-4:]) / 4


def test_overfitting_lowers_the_image_loss_and_the_condition_matters():
    distillation, first, last = learned("kd")
    assert last < 0.5 * first
    document = measure(distillation, 0, GALLERY)
    values = document["guidance"][CONDITION]
    assert values["l1"] < 0.6 * values["l1_undistilled"]
    assert values["l1"] < values["l1_shuffled"]
    assert values["l1_without_first"] < values["l1_without_first_shuffled"]
    assert values["direction"] > 0.1
    assert values["response"] > 0.2
