"""Draws of training images: every class alike, only images of the class, crops inside the picture."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.errors import UserError
from kdx2i.training.sampling import BalancedImages, augmentation

CPU = torch.device("cpu")
PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)


class Fetch:
    """Images whose pixels are their index; remembers what was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, indices):
        self.asked += indices.tolist()
        return indices.to(torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)


@PROPERTY
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(0, 1000))
def test_only_images_of_the_asked_class(extra, seed):
    labels = torch.tensor([0, 1, 2, 3, *extra])
    fetch = Fetch()
    images = BalancedImages(fetch, labels, 4, CPU)
    torch.manual_seed(seed)
    asked = images.draw_labels(64)
    drawn = images.draw(asked, 0.5)
    assert torch.equal(labels[torch.tensor(fetch.asked)], asked)
    # A constant image stays itself under crops and mirrors, up to the rounding of the interpolation.
    assert drawn.shape == (64, 3, 4, 4)
    shown = drawn.amax(dim=(1, 2, 3)).add(1).mul(127.5).round().long()
    assert shown.tolist() == fetch.asked


def test_labels_are_drawn_as_often_as_classes_have_images_where_that_is_asked_for():
    images = BalancedImages(Fetch(), torch.tensor([2] * 10 + [0] * 60 + [1] * 30), 3, CPU)
    torch.manual_seed(0)
    shares = torch.bincount(images.draw_labels(30_000, balanced=False), minlength=3) / 30_000
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1]), atol=0.02, rtol=0)


def test_classes_are_balanced_and_images_within_a_class_alike():
    labels = torch.tensor([0] * 90 + [1] * 9 + [2])
    fetch = Fetch()
    images = BalancedImages(fetch, labels, 3, CPU)
    torch.manual_seed(0)
    asked = images.draw_labels(9000)
    images.draw(asked, 0.0)
    counts = torch.bincount(torch.tensor(fetch.asked), minlength=100).float()
    per_class = torch.bincount(asked, minlength=3).float()
    # Five standard deviations of a binomial with p = 1/3, and of one with p = 1/9 of 3000.
    assert float((per_class - 3000).abs().max()) < 5 * (9000 * 2 / 9) ** 0.5
    assert float((counts[90:99] - 3000 / 9).abs().max()) < 5 * (3000 * 8 / 81) ** 0.5 + 100
    assert int((counts[:90] == 0).sum()) == 0
    assert counts[99] == per_class[2]


def test_draws_are_a_function_of_the_seed():
    images = BalancedImages(Fetch(), torch.arange(9) // 3, 3, CPU)
    runs = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        labels = images.draw_labels(6)
        runs.append((labels, images.draw(labels, 0.5)))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][1], runs[2][1])


def test_class_without_images_is_named():
    with pytest.raises(UserError, match="class 1 of 3 has no training image"):
        BalancedImages(Fetch(), torch.tensor([0, 2]), 3, CPU)


@PROPERTY
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_crops_stay_inside_and_keep_their_area_and_ratio(seed, probability):
    torch.manual_seed(seed)
    theta = augmentation(50, probability)
    width, left = theta[:, 0, 0].abs(), theta[:, 0, 2]
    height, top = theta[:, 1, 1], theta[:, 1, 2]
    assert float((left.abs() + width).max()) <= 1 + 1e-6
    assert float((top.abs() + height).max()) <= 1 + 1e-6
    assert float((width * height).min()) >= 0.8 - 1e-6
    assert float((width / height).max()) <= 1.1 + 1e-6
    assert float((width / height).min()) >= 0.9 - 1e-6
    assert not theta[:, 0, 1].any()
    assert not theta[:, 1, 0].any()


def test_crops_and_mirrors_come_as_often_as_asked():
    torch.manual_seed(0)
    theta = augmentation(4000, 0.25)
    cropped = (theta[:, 0, 0].abs() * theta[:, 1, 1] < 1).float().mean()
    mirrored = (theta[:, 0, 0] < 0).float().mean()
    assert abs(float(cropped) - 0.25) < 0.04
    assert abs(float(mirrored) - 0.5) < 0.04
    assert float(augmentation(1000, 0.0)[:, :, 2].abs().max()) == 0
    assert float((augmentation(1000, 0.0)[:, 1, 1] - 1).abs().max()) == 0


def test_without_crop_an_image_is_itself_or_its_mirror():
    pixels = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = BalancedImages(lambda indices: pixels[indices], torch.arange(4), 4, CPU)
    torch.manual_seed(0)
    labels = torch.arange(4).repeat(8)
    drawn = images.draw(labels, 0.0)
    plain = pixels[labels] / 127.5 - 1
    error = torch.minimum((drawn - plain).abs().amax(dim=(1, 2, 3)), (drawn - plain.flip(3)).abs().amax(dim=(1, 2, 3)))
    assert float(error.max()) < 1e-4
