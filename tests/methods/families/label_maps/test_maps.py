"""One-hot maps with the official rules for pixels without a label, and what is changed alike in images and maps."""

import pytest
import torch

from kdx2i.errors import UserError
from kdx2i.methods.families.label_maps.maps import cropped, mirrored, one_hot_maps, spread_condition

MAP = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("unknown", "channels"),
    [("last", [[0, 1], [2, 3]]), ("first", [[1, 2], [3, 0]])],
)
def test_pixels_without_a_label_get_the_channel_of_the_official_code(unknown, channels):
    maps = one_hot_maps(MAP, 3, unknown)
    assert maps.shape == (1, 4, 2, 2)
    assert (maps.sum(1) == 1).all()
    assert maps.argmax(1)[0].tolist() == channels


def test_a_value_that_is_no_label_is_refused():
    with pytest.raises(UserError, match=r"has the value 255.*`label_nc: 3`.*`dont_care`"):
        one_hot_maps(MAP, 3)
    with pytest.raises(UserError, match=r"has the value 2, and"):
        one_hot_maps(MAP, 2, "last")


def test_a_pseudo_condition_is_the_same_everywhere():
    spread = spread_condition(torch.tensor([[1.0, 2.0]]), (3, 4))
    assert spread.shape == (1, 2, 3, 4)
    assert (spread[0, 1] == 2).all()
    assert spread_condition(spread, (9, 9)) is spread


def plane(side):
    """Return an image whose pixels are their place, and the same numbers as a map."""
    values = torch.arange(side * side, dtype=torch.float32).reshape(1, 1, side, side)
    return (values / (side * side)).expand(2, 3, side, side), values[0].expand(2, side, side).to(torch.uint8)


def test_images_and_maps_are_mirrored_together():
    images, maps = plane(4)
    image, label = mirrored(images, maps, torch.tensor([False, True]))
    assert torch.equal(image[0], images[0])
    assert torch.equal(image[1], images[1].flip(-1))
    assert torch.equal(label[0], maps[0])
    assert torch.equal(label[1], maps[1].flip(-1))


def test_a_crop_cuts_the_same_place_out_of_image_and_map():
    # Halves of one colour each: their edge lies at the same column in both after the crop.
    maps = torch.zeros(2, 16, 16, dtype=torch.uint8)
    maps[:, :, 8:] = 1
    images = (maps.float() * 2 - 1)[:, None].expand(-1, 3, -1, -1)
    places = torch.tensor([[0.0, 0.0], [0.99, 0.99]])
    image, label = cropped(images, maps, 1.25, places)
    assert image.shape == images.shape
    assert label.dtype == torch.uint8
    # 16 px become 20, whose edge is at 10; the cut of 16 begins at 0 or at 4.
    assert label[0, 0].tolist() == [0] * 10 + [1] * 6
    assert label[1, 0].tolist() == [0] * 6 + [1] * 10
    assert torch.equal(image[:, 0] > 0, label == 1)
    assert image.abs().max() <= 1


def test_without_a_larger_size_nothing_is_cut():
    images, maps = plane(4)
    image, label = cropped(images, maps, 1.0, torch.rand(2, 2))
    assert torch.equal(image, images)
    assert torch.equal(label, maps)
