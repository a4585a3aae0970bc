"""S2IGAN's random crop and mirror of training images, on grey levels (`get_imgs` of `dataset/datasets.py`)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """Return images uint8 [B, 3, H, W] at another size, bilinear with antialiasing, as Pillow resizes them."""
    if tuple(pixels.shape[2:]) == (height, width):
        return pixels
    larger: Tensor = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    return larger


def enlarged(pixels: Tensor, side: int, factor: float) -> Tensor:
    """Return images uint8 [B, 3, H, W] whose shorter side has int(side x factor) pixels, the other in proportion."""
    height, width = pixels.shape[2:]
    shorter = int(side * factor)
    if height <= width:
        return resized(pixels, shorter, int(shorter * width / height))
    return resized(pixels, int(shorter * height / width), shorter)


def crop_and_mirror(pixels: Tensor, side: int, factor: float) -> Tensor:
    """Return random crops uint8 [B, 3, side, side] of images uint8 [B, 3, H, W] enlarged by `factor`; half mirrored.

    Every image has a place and a mirroring of its own, from torch's global generator.
    """
    large = enlarged(pixels, side, factor)
    top, left = (torch.randint(room - side + 1, (len(large),)).tolist() for room in large.shape[2:])
    mirrored = torch.rand(len(large)) < 0.5
    crops = [image[:, t : t + side, s : s + side] for image, t, s in zip(large, top, left, strict=True)]
    chosen = torch.stack(crops)
    return torch.where(mirrored.view(-1, 1, 1, 1), chosen.flip(3), chosen)
