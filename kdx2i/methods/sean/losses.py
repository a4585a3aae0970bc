"""The objectives of SEAN (`models/pix2pix_model.py` of ZPdesu/SEAN), which are SPADE's.

Images are [B, 3, H, W] in [-1, 1], maps one-hot [B, K, H, W]. Judgements are, for each scale, the discriminator's
outputs [B, C, h, w], its logits last; each side judges fakes and real images in one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.methods.sean.discriminator import Discriminator, Judgements


@dataclass(frozen=True)
class Weights:
    """Weights of feature matching and of the perceptual loss, by the official names."""

    feat: float = 10.0
    vgg: float = 10.0


def hinge(judged: Judgements, *, real: bool) -> Tensor:
    """Return the discriminator's hinge loss of logits [B, 1, h, w] that should say `real`: the mean over scales."""
    losses = [F.relu(1 - scale[-1] if real else 1 + scale[-1]).mean() for scale in judged]
    return torch.stack(losses).mean()


def feature_matching(fake: Judgements, real: Judgements) -> Tensor:
    """Return the mean absolute differences of all outputs [B, C, h, w] but the logits, summed over the layers.

    The mean over scales; the real side is a constant.
    """
    scales = [
        torch.stack([F.l1_loss(a, b.detach()) for a, b in zip(one[:-1], other[:-1], strict=True)]).sum()
        for one, other in zip(fake, real, strict=True)
    ]
    return torch.stack(scales).mean()


def generator_loss(
    discriminator: Discriminator,
    maps: Tensor,
    fake: Tensor,
    real: Tensor,
    *,
    weights: Weights,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None,
) -> dict[str, Tensor]:
    """Return `adv`, the weighted `feat` and `vgg` of images [B, 3, H, W], as far as they have a weight, and `total`."""
    judged_fake, judged_real = discriminator.judge_pair(maps, fake, real)
    terms = {"adv": torch.stack([-scale[-1].mean() for scale in judged_fake]).mean()}
    if weights.feat:
        terms["feat"] = weights.feat * feature_matching(judged_fake, judged_real)
    if weights.vgg and perceptual is not None:
        terms["vgg"] = weights.vgg * perceptual(fake, real)
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


def discriminator_loss(discriminator: Discriminator, maps: Tensor, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Return `fake`, `real` and `total` of the discriminator on images [B, 3, H, W]; the fake is a constant."""
    judged_fake, judged_real = discriminator.judge_pair(maps, fake.detach(), real)
    terms = {"fake": hinge(judged_fake, real=False), "real": hinge(judged_real, real=True)}
    return {**terms, "total": terms["fake"] + terms["real"]}
