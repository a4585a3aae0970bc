"""The adversarial objectives of SSA-GAN (`main.py` of wtliao/text2image); its DAMSM term is in `kdx2i.encoders.damsm`.

`discriminator` maps images [B, 3, R, R] to features; its `judge` maps features and conditions [B, D] to logits [B].
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class ConditionalDiscriminator(Protocol):
    """What the objectives ask of a discriminator."""

    def __call__(self, x: Tensor) -> Tensor:
        """Images [B, 3, R, R] -> features [B, ...]."""

    def judge(self, features: Tensor, c: Tensor) -> Tensor:
        """Features [B, ...] and conditions [B, D] -> logits [B]."""


def discriminator_loss(
    discriminator: ConditionalDiscriminator, real: Tensor, fake: Tensor, c: Tensor
) -> dict[str, Tensor]:
    """Return `real`, `fake`, `mismatch` and `total` of images [B, 3, R, R] and sentence vectors [B, D].

    A mismatch pairs each image with the condition of the next one of the batch, B - 1 pairs (none: the term is zero).
    """
    features = discriminator(real)
    mismatched = discriminator.judge(features[:-1], c[1:]) if len(real) > 1 else None
    terms = {
        "real": F.relu(1 - discriminator.judge(features, c)).mean(),
        "fake": F.relu(1 + discriminator.judge(discriminator(fake.detach()), c)).mean(),
        "mismatch": real.new_zeros(()) if mismatched is None else F.relu(1 + mismatched).mean(),
    }
    return {**terms, "total": terms["real"] + (terms["fake"] + terms["mismatch"]) / 2}


def squared_gradients(discriminator: ConditionalDiscriminator, real: Tensor, c: Tensor) -> Tensor:
    """Return the squared norm [B] of the gradient of D at real images [B, 3, R, R] with their conditions [B, D].

    One norm is over both, image and condition together.
    """
    x, condition = real.detach().requires_grad_(), c.detach().requires_grad_()
    logits = discriminator.judge(discriminator(x), condition)
    by_image, by_condition = torch.autograd.grad(logits.sum(), (x, condition), create_graph=True)
    squared: Tensor = by_image.square().flatten(1).sum(1) + by_condition.square().sum(1)
    return squared


def matching_penalty(
    discriminator: ConditionalDiscriminator, real: Tensor, c: Tensor, weight: float, power: float
) -> Tensor:
    """Return MA-GP, weight * mean_b |grad D(x_b, c_b)|^power, at real images [B, 3, R, R] with conditions [B, D]."""
    return weight * squared_gradients(discriminator, real, c).pow(power / 2).mean()


def generator_loss(discriminator: ConditionalDiscriminator, fake: Tensor, c: Tensor) -> Tensor:
    """Return -mean D(fake, c) of images [B, 3, R, R] and conditions [B, D]."""
    return -discriminator.judge(discriminator(fake), c).mean()
