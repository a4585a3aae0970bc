"""Damage of images: blur, noise, pixelation, and images that are no drawing at all."""

import math

import torch
import torch.nn.functional as functional
from torch import Tensor


def blur(images: Tensor, sigma: float) -> Tensor:
    """Return images (B, 3, H, W) in [0, 255] blurred by a Gaussian of `sigma` pixels, float32; edges are continued."""
    reach = min(max(1, math.ceil(3 * sigma)), images.shape[-1] - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images.device)
    count, channels, height, width = images.shape
    flat = images.float().reshape(count * channels, 1, height, width)
    flat = functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = functional.conv2d(flat, kernel[None, None, None, :])
    return functional.conv2d(flat, kernel[None, None, :, None]).reshape(images.shape)


def add_noise(images: Tensor, deviation: float, generator: torch.Generator | None = None) -> Tensor:
    """Return images (B, 3, H, W) in [0, 255] with Gaussian noise of `deviation` grey levels, float32, clipped."""
    noise = torch.randn(images.shape, generator=generator)
    return (images.float() + deviation * noise).clamp(0.0, 255.0)


def pixelate(images: Tensor, block: int) -> Tensor:
    """Return images (B, 3, H, W) in [0, 255] whose blocks of `block` pixels a side have their mean, float32.

    The last blocks of a side that `block` does not divide are smaller.
    """
    height, width = images.shape[-2:]
    rows, columns = (_block_means(length, block) for length in (height, width))
    return rows @ images.float() @ columns.T


def _block_means(length: int, block: int) -> Tensor:
    """Return the (length, length) matrix that puts the mean of its block in the place of each value."""
    number = torch.arange(length) // block
    same = (number[:, None] == number[None, :]).float()
    return same / same.sum(1, keepdim=True)


def to_bytes(images: Tensor) -> Tensor:
    """Return images (B, 3, H, W) in [0, 255] rounded, uint8."""
    return images.round().clamp(0.0, 255.0).to(torch.uint8)
