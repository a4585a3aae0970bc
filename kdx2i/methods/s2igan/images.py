"""The images that S2IGAN trains on: crops of different sizes of one image (`get_imgs` of `dataset/datasets.py`)."""

import torch
from torch import Tensor

from kdx2i.encoders.speech.augmentation import resized
from kdx2i.training.precision import to_images


def object_box(box: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """Return what is cut out around an object: left, top, right, bottom in pixels.

    `box` is x, y, width and height of the object. The cut reaches 3/4 of the longer side from its centre and ends at
    the image, so that it need not be square. Birds are cut out; Oxford-102 has no boxes.
    """
    x, y, across, down = box
    reach = int(0.75 * max(across, down))
    centre_x, centre_y = int((2 * x + across) / 2), int((2 * y + down) / 2)
    left, top = max(0, centre_x - reach), max(0, centre_y - reach)
    return left, top, min(width, centre_x + reach), min(height, centre_y + reach)


def pyramid(pixels: Tensor, stages: int, device: torch.device) -> list[Tensor]:
    """Return images uint8 [B, 3, R, R] as float images in [-1, 1] at R / 2^(stages - 1), ..., R / 2, R px."""
    side = pixels.shape[-1]
    sides = [side >> stage for stage in reversed(range(stages))]
    return [to_images(resized(pixels, r, r), device) for r in sides]
