"""The images that S2IGAN trains on: crops of different sizes of one image (`get_imgs` of `dataset/datasets.py`)."""

import torch
from torch import Tensor

from kdx2i.encoders.speech.augmentation import resized
from kdx2i.training.precision import to_images


def pyramid(pixels: Tensor, stages: int, device: torch.device) -> list[Tensor]:
    """Return images uint8 [B, 3, R, R] as float images in [-1, 1] at R / 2^(stages - 1), ..., R / 2, R px."""
    side = pixels.shape[-1]
    sides = [side >> stage for stage in reversed(range(stages))]
    return [to_images(resized(pixels, r, r), device) for r in sides]
