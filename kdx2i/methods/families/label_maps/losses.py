"""Objectives that SPADE, SEAN and others share (`models/networks/loss.py`, `models/pix2pix_model.py` of NVlabs/SPADE).

A judgement is, for each scale, the list of the discriminator's outputs [B, C, h, w], its prediction last.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.methods.families.label_maps.discriminator import Judgement

GanMode = Literal["hinge", "ls", "original", "w"]


def gan_loss(prediction: Tensor, *, real: bool, for_discriminator: bool, mode: GanMode = "hinge") -> Tensor:
    """Return `GANLoss` of one prediction [B, 1, h, w]: how far it is from the wanted verdict, a mean over all."""
    if mode == "hinge":
        if not for_discriminator:
            return -prediction.mean()
        return F.relu(1 - prediction if real else 1 + prediction).mean()
    if mode == "w":
        return -prediction.mean() if real else prediction.mean()
    target = torch.full_like(prediction, 1.0 if real else 0.0)
    if mode == "ls":
        return F.mse_loss(prediction, target)
    return F.binary_cross_entropy_with_logits(prediction, target)


def adversarial_loss(judged: Judgement, *, real: bool, for_discriminator: bool, mode: GanMode = "hinge") -> Tensor:
    """Return the mean over the scales of `gan_loss` of their predictions [B, 1, h, w]."""
    losses = [gan_loss(scale[-1], real=real, for_discriminator=for_discriminator, mode=mode) for scale in judged]
    return torch.stack(losses).mean()


def feature_matching(fake: Judgement, real: Judgement) -> Tensor:
    """Return the mean absolute differences of all outputs [B, C, h, w] but the predictions, summed over the layers.

    The mean over the scales; the real side is a constant.
    """
    scales = [
        torch.stack([F.l1_loss(a, b.detach()) for a, b in zip(one[:-1], other[:-1], strict=True)]).sum()
        for one, other in zip(fake, real, strict=True)
    ]
    return torch.stack(scales).mean()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence from N(0, I) of codes of this mean and log-variance [B, Z], summed over the batch, too."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
