"""The ladder: damage does what it says, and a distance that is out of order is caught with the pair."""

from typing import Any

import pytest
import torch

from kdx2i.metrics.ladder import damage, rungs
from kdx2i.metrics.ladder.rungs import broken_order


def test_damage_grows_with_its_level(images: Any) -> None:
    pictures = images(6, 32, 0)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    climbed = rungs.rungs(32)
    assert climbed[0].name == rungs.REAL and torch.equal(climbed[0].change(pictures, labels), pictures)
    for kind in ("blur", "noise", "pixelation"):
        graded = [rung for rung in climbed if rung.kind == kind]
        assert [rung.level for rung in graded] == [0, 1, 2]
        errors = [(rung.change(pictures, labels).float() - pictures.float()).square().mean().item() for rung in graded]
        assert 0 < errors[0] < errors[1] < errors[2]
    for rung in climbed:
        changed = rung.change(pictures, labels)
        assert changed.shape == pictures.shape and changed.dtype == torch.uint8
        assert torch.equal(changed, rung.change(pictures, labels))


def test_blur_keeps_flat_images_and_the_mean_grey(images: Any) -> None:
    flat = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    assert torch.allclose(damage.blur(flat, 2.0), flat.float(), atol=1e-3)
    point = torch.zeros(1, 3, 33, 33)
    point[..., 16, 16] = 255.0
    blurred = damage.blur(point, 2.0)
    assert blurred.sum().item() == pytest.approx(3 * 255.0, rel=1e-4)
    # The peak of a Gaussian of deviation s is 1 / (2 pi s^2).
    assert blurred[0, 0, 16, 16].item() == pytest.approx(255.0 / (2 * torch.pi * 4), rel=0.02)


def test_pixels_of_a_block_are_its_mean() -> None:
    image = torch.arange(2 * 3 * 6 * 6, dtype=torch.float32).reshape(2, 3, 6, 6)
    blocky = damage.pixelate(image, 4)  # blocks of 4 and of 2
    assert torch.allclose(blocky[:, :, :4, :4], image[:, :, :4, :4].mean((2, 3), keepdim=True).expand(-1, -1, 4, 4))
    assert torch.allclose(blocky[:, :, 4:, :4], image[:, :, 4:, :4].mean((2, 3), keepdim=True).expand(-1, -1, 2, 4))


def test_shuffled_tiles_are_the_same_tiles(images: Any) -> None:
    pictures = images(3, 32, 1)
    shuffled = rungs.shuffle(pictures, 8, seed=0)
    assert not torch.equal(shuffled, pictures)

    def tiles(image: torch.Tensor) -> list[bytes]:
        return sorted(
            image[:, y : y + 8, x : x + 8].contiguous().numpy().tobytes()
            for y in range(0, 32, 8)
            for x in range(0, 32, 8)
        )

    assert all(tiles(a) == tiles(b) for a, b in zip(shuffled, pictures, strict=True))


def test_a_class_mean_is_of_its_class(images: Any) -> None:
    pictures, labels = images(5, 16, 2), torch.tensor([0, 1, 0, 1, 1])
    means = rungs.class_means(pictures, labels)
    assert torch.equal(means[0], means[2]) and torch.equal(means[1], means[4]) and not torch.equal(means[0], means[1])
    assert (means[0].float() - pictures[[0, 2]].float().mean(0)).abs().max() <= 0.5


def in_order() -> dict[str, float]:
    """Return values that keep the order: their positions in the list of rungs."""
    return {rung.name: float(place) for place, rung in enumerate(rungs.rungs(64))}


def test_an_order_that_is_kept_has_no_broken_pair() -> None:
    assert broken_order(in_order(), rungs.rungs(64)) == []


@pytest.mark.parametrize(
    "low, high",
    [
        ("real", "blur 2 px"),
        ("blur 4 px", "blur 8 px"),
        ("noise 40", "noise 80"),
        ("wrong class", "white"),
        ("pixelation 4 px", "pure noise"),
        ("blur 2 px", "class mean"),
    ],
)
def test_a_pair_that_is_out_of_order_is_named(low: str, high: str) -> None:
    values = in_order()
    values[high] = values[low] - 0.5
    assert (low, high) in broken_order(values, rungs.rungs(64))
    values[high] = values[low]  # a tie is no order either
    assert (low, high) in broken_order(values, rungs.rungs(64))


def test_what_a_distance_cannot_see_is_not_asked_of_it() -> None:
    values = {name: value for name, value in in_order().items() if name != rungs.WRONG_CLASS}
    assert broken_order(values, rungs.rungs(64)) == []
    # Class mean and blanks have no order between them.
    assert broken_order({**values, rungs.CLASS_MEAN: 1000.0}, rungs.rungs(64)) == []
