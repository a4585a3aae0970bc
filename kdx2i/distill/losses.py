"""The scalar objectives of stage 1: L1 distances and the GAN loss of eq. (4)."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from kdx2i.teacher.training import r1_penalty

Norm = Literal["mean", "positions", "sum"]
Adversarial = Literal["non-saturating", "saturating"]


def l1(a: Tensor, b: Tensor, norm: Norm) -> Tensor:
    """Return |a - b|_1 of eqs. (1) to (3) for tensors [B, C, H, W], a batch mean (entry `i2i-norm`).

    `mean`: over all elements. `positions`: the norm of the C-vector at each position, averaged over the
    positions. `sum`: over all of a sample's elements.
    """
    distance = (a - b).abs()
    if norm == "mean":
        return distance.mean()
    return distance.sum(dim=1).mean() if norm == "positions" else distance.flatten(1).sum(dim=1).mean()


def discriminator_objective(
    discriminate: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, r1_weight: float
) -> Tensor:
    """Return the loss that the discriminator minimises, eq. (4) with its sign turned.

    -log D(y) - log(1 - D(y_S)) + r1_weight/2 |grad D(y)|^2; logits in, batch means out.
    """
    real = real.detach().requires_grad_(r1_weight > 0)
    logits = discriminate(real)
    loss = F.softplus(-logits).mean()
    if r1_weight > 0:
        loss = loss + 0.5 * r1_weight * r1_penalty(logits, real)
    return loss + F.softplus(discriminate(fake)).mean()


def generator_objective(logits: Tensor, form: Adversarial) -> Tensor:
    """Return the generator's share of eq. (4): log(1 - D) as printed, or the non-saturating -log D."""
    return F.softplus(-logits).mean() if form == "non-saturating" else -F.softplus(logits).mean()
