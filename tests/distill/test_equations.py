"""Eqs. (1) to (5) against loops over the printed formulas, in double precision."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.distill.equations.i2i import (
    content_encoder_alignment,
    discriminator_adversarial_loss,
    full_objective,
    generator_adversarial_loss,
    generator_alignment,
    l1,
    style_encoder_alignment,
)

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)


@PROPERTY
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_l1_is_a_batch_mean_in_each_reading(batch, channels, side, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, batch, channels, side, side, generator=generator, dtype=torch.float64)
    per_sample = [
        [abs(float(p - q)) for p, q in zip(x.flatten(), y.flatten(), strict=True)] for x, y in zip(a, b, strict=True)
    ]
    sums = [sum(values) for values in per_sample]
    assert float(l1(a, b, "sum")) == pytest.approx(sum(sums) / batch)
    assert float(l1(a, b, "positions")) == pytest.approx(sum(sums) / (batch * side * side))
    assert float(l1(a, b, "mean")) == pytest.approx(sum(sums) / (batch * channels * side * side))
    assert float(l1(a, b, "mean")) == pytest.approx(float(l1(b, a, "mean")))
    assert float(l1(a, a, "sum")) == 0.0


@st.composite
def feature_pairs(draw):
    """The features [B, C, r, r] of teacher and student at some resolutions r."""
    batch, seed = draw(st.integers(1, 3)), draw(st.integers(0, 1000))
    widths = draw(st.dictionaries(st.sampled_from([1, 2, 4]), st.integers(1, 4), min_size=1))
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        {r: torch.randn(batch, c, r, r, generator=generator, dtype=torch.float64) for r, c in widths.items()}
        for _ in range(2)
    )


def norm1(a, b, norm):
    """||a - b||_1 of two batches of nested lists [B][C][H][W], element by element."""
    batch, channels, height, width = len(a), len(a[0]), len(a[0][0]), len(a[0][0][0])
    total = 0.0
    for i, c, h, w in itertools.product(range(batch), range(channels), range(height), range(width)):
        total += abs(a[i][c][h][w] - b[i][c][h][w])
    return total / {"mean": batch * channels * height * width, "positions": batch * height * width, "sum": batch}[norm]


def weighted_sum(weight, teacher, student, norm):
    """sum_l weight ||T_l - S_l||_1 with the same weight for every l."""
    total = 0.0
    for resolution in teacher:
        total += weight * norm1(teacher[resolution].tolist(), student[resolution].tolist(), norm)
    return total


NORMS = st.sampled_from(["mean", "positions", "sum"])
WEIGHTS = st.floats(0, 10)


@PROPERTY
@given(feature_pairs(), WEIGHTS, NORMS)
def test_eqs_1_and_2_are_the_weighted_sums_over_the_layers(pair, weight, norm):
    expected = pytest.approx(weighted_sum(weight, *pair, norm))
    assert float(content_encoder_alignment(*pair, weight, norm)) == expected
    assert float(style_encoder_alignment(*pair, weight, norm)) == expected


@PROPERTY
@given(feature_pairs(), st.integers(1, 5), WEIGHTS, WEIGHTS, NORMS)
def test_eq_3_is_the_features_by_alpha_and_the_image_by_beta(pair, side, alpha, beta, norm):
    generator = torch.Generator().manual_seed(side)
    batch = len(next(iter(pair[0].values())))
    y, drawn = torch.rand(2, batch, 3, side, side, generator=generator, dtype=torch.float64) * 2 - 1
    features, image = generator_alignment(pair, (y, drawn), alpha, beta, norm)
    assert float(features) == pytest.approx(weighted_sum(alpha, *pair, norm))
    assert float(image) == pytest.approx(beta * norm1(y.tolist(), drawn.tolist(), norm))


@PROPERTY
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=6), st.lists(st.floats(-20, 20), min_size=1, max_size=6))
def test_eq_4_is_the_mean_of_the_logarithms_on_both_sides(real, fake):
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    def printed(logits_of_real, logits_of_fake):
        of_real = sum(math.log(sigmoid(x)) for x in logits_of_real) / len(logits_of_real)
        # 1 - sigmoid(x) is sigmoid(-x), which keeps its digits where x is large.
        return of_real + sum(math.log(sigmoid(-x)) for x in logits_of_fake) / len(logits_of_fake)

    def as_images(logits):
        return torch.tensor(logits, dtype=torch.float64).view(-1, 1, 1, 1)

    def first_pixel(images):
        return images[:, 0, 0, 0]

    judged = discriminator_adversarial_loss(first_pixel, as_images(real), as_images(fake), 0.0)
    assert float(judged) == pytest.approx(-printed(real, fake))
    drawn = generator_adversarial_loss(first_pixel(as_images(fake)), "saturating")
    assert float(drawn) == pytest.approx(printed(real, fake) - sum(math.log(sigmoid(x)) for x in real) / len(real))


@PROPERTY
@given(
    st.none() | st.floats(-5, 5), st.lists(st.floats(0, 5), min_size=4, max_size=4), st.floats(0, 10), st.floats(0, 10)
)
def test_eq_5_weighs_the_adversarial_loss_and_the_sum_of_the_alignments(adversarial, values, lambda_adv, lambda_kdl):
    alignments = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]
    adversarial_loss = None if adversarial is None else torch.tensor(adversarial, dtype=torch.float64)
    total = full_objective(adversarial_loss, alignments, lambda_adv, lambda_kdl)
    expected = lambda_adv * (adversarial or 0.0) + lambda_kdl * (values[0] + values[1] + (values[2] + values[3]))
    assert float(total.detach()) == pytest.approx(expected, abs=1e-9)
    assert [float(slope) for slope in torch.autograd.grad(total, alignments)] == [lambda_kdl] * 4


def test_eq_5_without_alignments_is_the_adversarial_loss_by_its_weight():
    assert float(full_objective(torch.tensor(0.5), [], 3.0, 7.0)) == 1.5


def quadratic(weight):
    """D(x) = weight sum x^2, whose gradient is 2 weight x."""
    return lambda x: weight * x.square().sum(dim=(1, 2, 3))


@pytest.mark.parametrize("r1_weight", [0.0, 1.0, 10.0])
def test_discriminator_minimises_the_negated_eq_4_with_r1(r1_weight):
    real, fake = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), -0.2)
    weight = torch.tensor(0.7, requires_grad=True)
    d_real, d_fake = (1 / (1 + math.exp(-0.7 * 4 * v)) for v in (0.25, 0.04))
    expected = -math.log(d_real) - math.log(1 - d_fake) + r1_weight / 2 * 4 * (2 * 0.7 * 0.5) ** 2
    loss = discriminator_adversarial_loss(quadratic(weight), real, fake, r1_weight)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, weight)
    by_hand = -(1 - d_real) * 1.0 + d_fake * 0.16 + r1_weight / 2 * 4 * 2 * (2 * 0.5) ** 2 * 0.7
    assert float(gradient) == pytest.approx(by_hand, rel=1e-5)
    assert not real.requires_grad


def test_generator_adversarial_loss_is_the_printed_or_the_non_saturating_form():
    logits = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64)
    probabilities = [1 / (1 + math.exp(-x)) for x in logits.tolist()]
    printed = sum(math.log(1 - p) for p in probabilities) / 3
    switched = -sum(math.log(p) for p in probabilities) / 3
    assert float(generator_adversarial_loss(logits, "saturating")) == pytest.approx(printed)
    assert float(generator_adversarial_loss(logits, "non-saturating")) == pytest.approx(switched)


def test_both_forms_push_the_same_way_and_only_one_saturates():
    logits = torch.tensor([-8.0], requires_grad=True)
    gradients = {
        form: float(torch.autograd.grad(generator_adversarial_loss(logits, form), logits)[0])
        for form in ("saturating", "non-saturating")
    }
    assert gradients["saturating"] < 0
    assert gradients["non-saturating"] < 0
    assert abs(gradients["saturating"]) < 1e-3 < abs(gradients["non-saturating"])


def test_extreme_logits_stay_finite():
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    for form in ("saturating", "non-saturating"):
        loss = generator_adversarial_loss(logits, form)
        assert bool(torch.isfinite(loss))
        assert bool(torch.isfinite(torch.autograd.grad(loss, logits)[0]).all())
