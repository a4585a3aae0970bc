"""The damaged drawings that the feature network learns to tell from whole ones, and how damaged each is."""

from collections.abc import Callable

import torch
from torch import Tensor

from kdx2i.metrics.ladder.damage import add_noise, blur, pixelate

# Damage at which nothing counts as left of the drawing: share of the side for blur and blocks, grey levels for noise.
_FULL_BLUR, _FULL_BLOCK, _FULL_NOISE = 0.06, 0.125, 80.0
Damaged = tuple[Tensor, float]


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _logarithmic(low: float, high: float) -> float:
    return float(low * (high / low) ** float(torch.rand(())))


def _blurred(images: Tensor) -> Damaged:
    share = _logarithmic(0.008, 0.15)
    return blur(images[:1], share * images.shape[-1]), min(1.0, share / _FULL_BLUR)


def _noisy(images: Tensor) -> Damaged:
    deviation = _logarithmic(5.0, 150.0)
    return add_noise(images[:1], deviation), min(1.0, deviation / _FULL_NOISE)


def _pixelated(images: Tensor) -> Damaged:
    side = images.shape[-1]
    block = int(torch.randint(2, max(3, side // 4), ()))
    return pixelate(images[:1], block), min(1.0, block / side / _FULL_BLOCK)


def _mixed(images: Tensor) -> Damaged:
    share = _uniform(0.1, 0.5)
    return (1 - share) * images[:1].float() + share * images[1:2].float(), min(1.0, 2.5 * share)


def _averaged(images: Tensor) -> Damaged:
    return images[: int(torch.randint(3, len(images) + 1, ()))].float().mean(0, keepdim=True), 1.0


def _faded(images: Tensor) -> Damaged:
    share = _uniform(0.2, 1.0)
    colour = 255.0 * torch.rand(3)[:, None, None]
    return (1 - share) * images[:1].float() + share * colour, share


def _blank(images: Tensor) -> Damaged:
    grey = bool(torch.rand(()) < 0.5)
    colour = torch.rand(1).expand(3) if grey else torch.rand(3)
    extreme = float(torch.rand(()))
    if extreme < 0.3:
        colour = torch.ones(3) if extreme < 0.2 else torch.zeros(3)
    return (255.0 * colour)[None, :, None, None].expand(1, 3, *images.shape[-2:]).clone(), 1.0


def _pure_noise(images: Tensor) -> Damaged:
    side = images.shape[-1]
    noise = 255.0 * torch.rand(1, 3, side, side)
    if torch.rand(()) < 0.5:
        noise = (blur(noise, _logarithmic(0.5, side / 6)) - 127.5) * _uniform(1.0, 8.0) + 127.5
    return noise.clamp(0.0, 255.0), 1.0


KINDS: tuple[Callable[[Tensor], Damaged], ...] = (
    _blurred, _noisy, _pixelated, _mixed, _averaged, _faded, _blank, _pure_noise,
)  # fmt: skip


def damaged(images: Tensor) -> Damaged:
    """Return one damaged image float32 (1, 3, R, R) in [0, 255] and how damaged it is, in (0, 1].

    It is made from the first of the images uint8 (N, 3, R, R), N >= 3, where one is enough. Random numbers come from
    torch's global generator.
    """
    kind = int(torch.randint(len(KINDS), ()))
    return KINDS[kind](images)
