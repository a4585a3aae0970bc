"""Augmentation of the discriminator's input: identity where it is off, white around, p where the target drives it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.teacher.augment import Augment, AugmentSettings

EVERYTHING = {
    "translation": 0.25,
    "scale": 0.3,
    "rotation": 30.0,
    "brightness": 0.3,
    "contrast": 0.5,
    "saturation": 0.7,
}
OFF = dict.fromkeys(EVERYTHING, 0.0)
PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)


def augment(probability=1.0, **strengths):
    return Augment(AugmentSettings(probability=probability, **(OFF | strengths)))


def images(batch=4, side=8):
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_nothing_happens_at_probability_zero():
    x = images()
    state = torch.get_rng_state()
    assert augment(0.0, **EVERYTHING)(x) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_strengths_of_zero_leave_the_image():
    x = images()
    torch.testing.assert_close(augment(1.0)(x), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_strength_does_something(name):
    x = images()
    torch.manual_seed(0)
    assert not torch.allclose(augment(1.0, **{name: EVERYTHING[name]})(x), x, atol=1e-3)


@PROPERTY
@given(st.integers(0, 10**6), st.floats(0.01, 1.0))
def test_white_stays_white(seed, probability):
    torch.manual_seed(seed)
    white = torch.ones(6, 3, 8, 8)
    moved = augment(probability, translation=0.25, scale=0.3, rotation=30.0)(white)
    torch.testing.assert_close(moved, white, rtol=0, atol=1e-5)


@PROPERTY
@given(st.integers(0, 10**6))
def test_translations_are_whole_pixels_within_their_bound_on_white_ground(seed):
    torch.manual_seed(seed)
    x = images(6)
    moved = augment(1.0, translation=0.25)(x)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=1.0)
    shifts = torch.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(5) for j in range(5)])
    errors = (shifts - moved).abs().amax(dim=(2, 3, 4))
    assert float(errors.min(dim=0).values.max()) < 1e-4


def test_a_share_p_of_the_images_is_moved():
    x = images(1).expand(3000, -1, -1, -1)
    torch.manual_seed(0)
    out = augment(0.3, brightness=0.5)(x)
    moved = ((out - x).abs().amax(dim=(1, 2, 3)) > 1e-4).float().mean()
    assert abs(float(moved) - 0.3) < 0.04


def test_colours_keep_what_they_should():
    x = images()
    torch.manual_seed(0)
    brighter = augment(1.0, brightness=0.5)(x) - x
    torch.testing.assert_close(brighter, brighter[:, :1, :1, :1].expand_as(x), rtol=0, atol=1e-5)
    torch.manual_seed(0)
    saturated = augment(1.0, saturation=0.5)(x)
    torch.testing.assert_close(saturated.mean(dim=1), x.mean(dim=1), rtol=0, atol=1e-5)
    torch.manual_seed(0)
    ratio = augment(1.0, contrast=0.5)(x) / x
    torch.testing.assert_close(ratio, ratio[:, :1, :1, :1].expand_as(x), rtol=1e-2, atol=1e-3)


def test_gradients_pass_through_everything():
    transform = augment(1.0, **EVERYTHING)
    weights = torch.randn(2, 3, 6, 6, dtype=torch.float64)

    def loss(x):
        torch.manual_seed(5)
        return (transform(x.float()).double() * weights).sum()

    # The transform is linear in the image for given random numbers: differences are exact up to rounding.
    x = images(2, 6).double().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(x), x)
    direction = torch.randn_like(x)
    difference = (loss(x + direction) - loss(x - direction)) / 2
    torch.testing.assert_close((gradient * direction).sum(), difference.detach(), rtol=1e-4, atol=1e-4)
    assert bool(gradient.any())


@PROPERTY
@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(-1, 1), st.integers(1, 64)), min_size=1, max_size=20),
    st.floats(-0.9, 0.9),
)
def test_p_moves_by_the_images_seen_and_stays_a_probability(start, steps, target):
    transform = Augment(AugmentSettings(probability=start, target=target, speed_kimg=0.5))
    expected = start
    for sign, count in steps:
        transform.adapt(sign, count)
        # In 500 images p may go from 0 to 1.
        expected = min(max(expected + (count if sign >= target else -count) / 500, 0.0), 1.0)
        assert transform.probability == pytest.approx(expected, abs=1e-12)
        assert 0.0 <= transform.probability <= 1.0


def test_p_goes_from_zero_to_one_in_the_asked_number_of_images():
    transform = Augment(AugmentSettings(target=0.6, speed_kimg=1.0))
    for seen in range(16, 1008, 16):
        transform.adapt(0.9, 16)
        assert transform.probability == pytest.approx(seen / 1000)
    transform.adapt(0.9, 16)
    transform.adapt(0.9, 16)
    assert transform.probability == 1.0


def test_without_a_target_p_stays():
    transform = Augment(AugmentSettings(probability=0.4))
    transform.adapt(1.0, 10**6)
    assert transform.probability == 0.4
