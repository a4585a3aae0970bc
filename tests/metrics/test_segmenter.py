"""The trained segmenter: it learns, repeats itself, survives a file, and says what is wrong."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.segmentation.mean_iou import segmentation_entry
from kdx2i.metrics.segmentation.segmenter import load_segmenter, train_segmenter
from kdx2i.metrics.segmentation.settings import SegmenterSettings

CLASSES = ("background", "disc", "stripe")
QUICK = SegmenterSettings(width=4, epochs=1, batch=4, shift=1)


def pairs(count: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return noisy images of a disc and a stripe in random places, with their maps."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.arange(size)
    maps = torch.zeros(count, size, size, dtype=torch.uint8)
    for one in maps:
        x, y, row = torch.randint(4, size - 4, (3,), generator=generator).tolist()
        one[(grid[:, None] - y) ** 2 + (grid - x) ** 2 <= 16] = 1
        one[row : row + 2] = 2
    colours = torch.tensor([[230, 230, 230], [200, 160, 40], [60, 60, 160]])
    noise = torch.randint(-15, 16, (count, 3, size, size), generator=generator)
    return (colours[maps.long()].permute(0, 3, 1, 2) + noise).clamp(0, 255).to(torch.uint8), maps


def test_learns() -> None:
    settings = SegmenterSettings(width=8, epochs=30, batch=8, shift=2, learning_rate=0.02)
    segmenter = train_segmenter(*pairs(32, 24, 0), CLASSES, settings, 3)
    images, maps = pairs(16, 24, 1)
    entry = segmentation_entry(images, maps, CLASSES, segmenter)
    assert entry["value"] > 85.0
    assert (entry["segmenter"], entry["segmenter_sha256"]) == ("trained-unet", segmenter.sha256)
    assert (segmenter.classes, segmenter.resolution, segmenter.samples) == (CLASSES, 24, 32)
    # Images of another size are resized to that of the training.
    larger = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert segmenter.segment(larger).shape == maps.shape
    assert segmentation_entry(larger, maps, CLASSES, segmenter)["value"] > 70.0


def test_repeats_and_follows_its_seed() -> None:
    data = pairs(8, 16, 0)
    state = torch.random.get_rng_state()
    first, again, other = (train_segmenter(*data, CLASSES, QUICK, seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.sha256 == again.sha256 != other.sha256


def test_file_round_trip(tmp_path: Path) -> None:
    images, maps = pairs(6, 16, 0)
    segmenter = train_segmenter(images, maps, CLASSES, QUICK)
    path = tmp_path / "segmenter.safetensors"
    segmenter.save(path, {"split_sha256": "0" * 64})
    content = path.read_bytes()
    loaded = load_segmenter(path)
    assert loaded.sha256 == segmenter.sha256
    assert (loaded.settings, loaded.classes, loaded.resolution, loaded.samples) == (QUICK, CLASSES, 16, 6)
    assert torch.equal(loaded.segment(images), segmenter.segment(images))
    segmenter.save(path, {"split_sha256": "0" * 64})
    assert path.read_bytes() == content


def test_wrong_input_is_one_sentence(tmp_path: Path) -> None:
    images, maps = pairs(4, 16, 0)
    with pytest.raises(UserError, match="two or more images with label maps"):
        train_segmenter(images, maps[:2], CLASSES, QUICK)
    with pytest.raises(UserError, match="multiples of 8, not 12"):
        train_segmenter(images[:, :, :12, :12], maps[:, :12, :12], CLASSES, QUICK)
    with pytest.raises(UserError, match=r"hold 2, but the classes are 0 \.\. 1"):
        train_segmenter(images, maps, CLASSES[:2], QUICK)
    path = tmp_path / "segmenter.safetensors"
    with pytest.raises(UserError, match="does not exist"):
        load_segmenter(path)
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_segmenter(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="is no segmenter: it holds something else"):
        load_segmenter(path)
