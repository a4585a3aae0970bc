"""The objectives of DMIT (`models/base_model.py`, `util/loss.py` of Xiaoming-Yu/DMIT).

Images are [B, 3, H, W] in [-1, 1], domains one-hot [B, C], contents [B, W, h, w], styles [B, S]. Logits [B, 1, h, w]
may be a tuple of scales, whose losses are summed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Logits = Tensor | Sequence[Tensor]
Discriminate = Callable[[Tensor, Tensor], Logits]


def _over_scales(logits: Logits, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the sum of a loss over scales."""
    scales = (logits,) if isinstance(logits, Tensor) else logits
    return torch.stack([loss(scale) for scale in scales]).sum()


def image_discriminator_loss(
    discriminate: Discriminate, x: Tensor, source: Tensor, target: Tensor, fake: Tensor
) -> Tensor:
    """Return the hinge loss with three terms: real, real with the wrong domain (half), fake (half).

    Images `x` and `fake` [B, 3, H, W]; domains `source` and `target` [B, C].
    """
    real = _over_scales(discriminate(x, source), lambda logits: F.relu(1 - logits).mean())
    wrong = _over_scales(discriminate(x, target), lambda logits: F.relu(1 + logits).mean())
    of_fake = _over_scales(discriminate(fake.detach(), target), lambda logits: F.relu(1 + logits).mean())
    return real + 0.5 * (wrong + of_fake)


def image_generator_loss(discriminate: Discriminate, fake: Tensor, target: Tensor) -> Tensor:
    """Return minus the mean logit, summed over scales, of images [B, 3, H, W] in their domains [B, C]."""
    return _over_scales(discriminate(fake, target), lambda logits: -logits.mean())


def content_discriminator_loss(discriminate: Discriminate, content: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Return the least-squares loss that tells the own domain [B, C] of contents [B, W, h, w] (1) from another (0)."""
    content = content.detach()
    real = _over_scales(discriminate(content, source), lambda logits: (logits - 1).square().mean())
    return real + _over_scales(discriminate(content, target), lambda logits: logits.square().mean())


def content_generator_loss(discriminate: Discriminate, content: Tensor, target: Tensor) -> Tensor:
    """Return the least-squares loss that makes contents [B, W, h, w] look like ones of the target domains [B, C]."""
    return _over_scales(discriminate(content, target), lambda logits: (logits - 1).square().mean())


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) | N(0, 1)), a sum over batch and dimensions as in the official code."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()


def diversity_loss(z: tuple[Tensor, Tensor], fakes: tuple[Tensor, Tensor]) -> Tensor:
    """Return mean |z1 - z2| / (mean |G(z1) - G(z2)| + 1e-5): small where images differ as much as their styles.

    Styles [B, S] and the images [B, 3, H, W] made with them.
    """
    return (z[0] - z[1]).abs().mean() / ((fakes[0] - fakes[1]).abs().mean() + 1e-5)


@dataclass(frozen=True)
class Fakes:
    """The four images of one forward pass (`forward` of `base_model.py`) and the content that they share."""

    content: Tensor
    reconstruction: Tensor
    exemplar: Tensor
    prior: tuple[Tensor, Tensor]
