"""The objectives of stage 1 against their formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.distill.losses import discriminator_objective, generator_objective, l1

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


def quadratic(weight):
    """D(x) = weight sum x^2, whose gradient is 2 weight x."""
    return lambda x: weight * x.square().sum(dim=(1, 2, 3))


@pytest.mark.parametrize("r1_weight", [0.0, 1.0, 10.0])
def test_discriminator_minimises_the_negated_eq_4_with_r1(r1_weight):
    real, fake = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), -0.2)
    weight = torch.tensor(0.7, requires_grad=True)
    d_real, d_fake = (1 / (1 + math.exp(-0.7 * 4 * v)) for v in (0.25, 0.04))
    expected = -math.log(d_real) - math.log(1 - d_fake) + r1_weight / 2 * 4 * (2 * 0.7 * 0.5) ** 2
    loss = discriminator_objective(quadratic(weight), real, fake, r1_weight)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, weight)
    by_hand = -(1 - d_real) * 1.0 + d_fake * 0.16 + r1_weight / 2 * 4 * 2 * (2 * 0.5) ** 2 * 0.7
    assert float(gradient) == pytest.approx(by_hand, rel=1e-5)
    assert not real.requires_grad


def test_generator_objective_is_the_printed_or_the_non_saturating_form():
    logits = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64)
    probabilities = [1 / (1 + math.exp(-x)) for x in logits.tolist()]
    printed = sum(math.log(1 - p) for p in probabilities) / 3
    switched = -sum(math.log(p) for p in probabilities) / 3
    assert float(generator_objective(logits, "saturating")) == pytest.approx(printed)
    assert float(generator_objective(logits, "non-saturating")) == pytest.approx(switched)


def test_both_forms_push_the_same_way_and_only_one_saturates():
    logits = torch.tensor([-8.0], requires_grad=True)
    gradients = {
        form: float(torch.autograd.grad(generator_objective(logits, form), logits)[0])
        for form in ("saturating", "non-saturating")
    }
    assert gradients["saturating"] < 0
    assert gradients["non-saturating"] < 0
    assert abs(gradients["saturating"]) < 1e-3 < abs(gradients["non-saturating"])


def test_extreme_logits_stay_finite():
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    for form in ("saturating", "non-saturating"):
        loss = generator_objective(logits, form)
        assert bool(torch.isfinite(loss))
        assert bool(torch.isfinite(torch.autograd.grad(loss, logits)[0]).all())
