"""The augmentation of text-to-image code (`get_imgs`, `datasets.py` of wtliao/text2image): a random crop, a mirror."""

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_crops(batch: int, share: float) -> Tensor:
    """Draw affine maps [B, 2, 3] by torch's global generator: a square of `share` of the side, mirrored half the time.

    The official code resizes to 76/64 of the final side and crops; here an image is enlarged as it is cropped.
    """
    left, top = ((torch.rand(batch) * 2 - 1) * (1 - share) for _ in range(2))
    mirror = torch.where(torch.rand(batch) < 0.5, -1.0, 1.0)
    zero, scale = torch.zeros(batch), torch.full((batch,), share)
    return torch.stack([torch.stack([scale * mirror, zero, left], 1), torch.stack([zero, scale, top], 1)], 1)


def crop(images: Tensor, theta: Tensor) -> Tensor:
    """Return images [B, 3, R, R] cropped and enlarged by affine maps [B, 2, 3], bilinearly, at their own size."""
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    warped = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return warped.contiguous(memory_format=torch.channels_last)
