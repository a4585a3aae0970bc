"""The objectives of OASIS (`models/{losses,models}.py` of boschresearch/OASIS).

Maps are one-hot [B, N, H, W], logits of the discriminator [B, N + 1, H, W], images [B, 3, H, W] in [-1, 1]. A real
pixel of class c is to be classified as c + 1, a pixel of a fake as 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Discriminate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Balance:
    """How classes are weighed: `balanced` by how rare they are; class 0 not at all where it is the unknown class."""

    balanced: bool = True
    dont_care: bool = False


def class_weights(maps: Tensor, balance: Balance) -> Tensor:
    """Return a weight [B, 1, H, W] a pixel: 1, or B H W / (classes that are present * pixels of its class)."""
    if not balance.balanced:
        return torch.ones_like(maps[:, :1])
    pixels = maps.sum((0, 2, 3))
    if balance.dont_care:
        pixels = torch.cat([pixels.new_zeros(1), pixels[1:]])
    total = maps.numel() / maps.shape[1]
    weights = torch.where(pixels > 0, total / ((pixels > 0).sum() * pixels.clamp(min=1)), 0.0)
    return weights[maps.argmax(1, keepdim=True)]


def real_target(maps: Tensor) -> Tensor:
    """Return the classes int64 [B, H, W] that pixels of real images have: label + 1."""
    return maps.argmax(1) + 1


def real_loss(logits: Tensor, maps: Tensor, balance: Balance) -> Tensor:
    """Return the mean weighted cross-entropy against the labels: of real images for D, of fakes for G."""
    losses = F.cross_entropy(logits, real_target(maps), reduction="none")
    return (losses * class_weights(maps, balance)[:, 0]).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits [B, N + 1, H, W] against the class of fakes."""
    return F.cross_entropy(logits, torch.zeros_like(logits[:, 0], dtype=torch.int64))


def labelmix_mask(maps: Tensor, coins: Tensor, *, independent: bool = False) -> Tensor:
    """Return which pixels of a mixed image are real, float32 [B, 1, H, W] of 0 and 1.

    `coins` int64 [N] of 0 and 1 are one for each class, for the whole batch. The official code writes the coins into
    the map one class after the other, so pixels of class 0 that drew 1 look like class 1, if that is present, and get
    its coin in the end; with `independent` each class keeps its own (protocol entry oasis-labelmix).
    """
    labels = maps.argmax(1, keepdim=True)
    kept = coins.to(labels.device).clone()
    if not independent and len(kept) > 1 and bool((labels == 1).any()):
        kept[0] = torch.where(kept[0] == 1, kept[1], kept[0])
    return kept[labels].float()


def mixed_image(mask: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """Return real pixels where the mask [B, 1, H, W] is 1 and fake ones elsewhere, [B, 3, H, W]."""
    return mask * real + (1 - mask) * fake


def labelmix_loss(mask: Tensor, of_mixed: Tensor, of_fake: Tensor, of_real: Tensor) -> Tensor:
    """Return the mean squared error between the logits of the mixed image and the mixed logits [B, N + 1, H, W]."""
    return F.mse_loss(of_mixed, mixed_image(mask, of_real, of_fake))


def generator_loss(
    discriminate: Discriminate,
    maps: Tensor,
    fake: Tensor,
    real: Tensor,
    *,
    balance: Balance,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    lambda_vgg: float = 10.0,
) -> dict[str, Tensor]:
    """Return `adv`, the weighted `vgg` where there is a perceptual loss, and `total`; maps [B, N, H, W]."""
    terms = {"adv": real_loss(discriminate(fake), maps, balance)}
    if perceptual is not None:
        terms["vgg"] = lambda_vgg * perceptual(fake, real)
    return {**terms, "total": sum(terms.values(), start=fake.new_zeros(()))}


def discriminator_loss(
    discriminate: Discriminate,
    maps: Tensor,
    fake: Tensor,
    real: Tensor,
    *,
    balance: Balance,
    mask: Tensor | None = None,
    lambda_labelmix: float = 10.0,
) -> dict[str, Tensor]:
    """Return `fake`, `real`, the weighted `labelmix` where there is a mask [B, 1, H, W], and `total`.

    Gradients of LabelMix go through all three judgements.
    """
    fake = fake.detach()
    of_fake, of_real = discriminate(fake), discriminate(real)
    terms = {"fake": fake_loss(of_fake), "real": real_loss(of_real, maps, balance)}
    if mask is not None:
        of_mixed = discriminate(mixed_image(mask, real, fake))
        terms["labelmix"] = lambda_labelmix * labelmix_loss(mask, of_mixed, of_fake, of_real)
    return {**terms, "total": sum(terms.values(), start=fake.new_zeros(()))}
