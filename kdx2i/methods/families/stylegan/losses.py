"""The objectives of translation between StyleGAN features (`DeepI2I_StyleGAN/train.py` of yaxingwang/DeepI2I)."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.methods.families.stylegan.settings import StyleGANTrain

Logits = Callable[[Tensor], Tensor]
"""Images -> logits [B]."""
Weighted = tuple[Tensor, float]
"""Further fakes [B, 3, R, R] and their weight in the discriminator's loss."""


def wasserstein_discriminator_loss(
    logits: Logits,
    real: Tensor,
    fake: Tensor,
    *,
    gradient_weight: float,
    drift: float,
    further: Weighted | None = None,
) -> Tensor:
    """WGAN-GP (Gulrajani et al. 2017) with a drift term on the real images' logits; draws its mixing shares.

    Real and fake images [B, 3, R, R]. `further` fakes enter by their own distance to the real images: fakes alone would
    push all logits down.
    """
    of_real = logits(real)
    share = torch.rand(len(real), 1, 1, 1).to(real.device)
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(logits(between).sum(), between, create_graph=True)
    penalty: Tensor = (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()
    critic: Tensor = logits(fake).mean() - of_real.mean()
    if further is not None:
        critic = critic + further[1] * (logits(further[0]).mean() - of_real.mean())
    return critic + drift * of_real.square().mean() + gradient_weight * penalty


def logistic_discriminator_loss(
    logits: Logits, real: Tensor, fake: Tensor, *, gradient_weight: float, further: Weighted | None = None
) -> Tensor:
    """Non-saturating logistic loss with R1 on the real images, gradient_weight / 2 times the squared gradient.

    Real and fake images [B, 3, R, R].
    """
    real = real.detach().requires_grad_()
    of_real = logits(real)
    (gradient,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
    penalty = gradient.square().flatten(1).sum(dim=1).mean()
    loss: Tensor = F.softplus(-of_real).mean() + F.softplus(logits(fake)).mean() + 0.5 * gradient_weight * penalty
    return loss if further is None else loss + further[1] * F.softplus(logits(further[0])).mean()


def discriminator_loss(
    logits: Logits, real: Tensor, fake: Tensor, settings: StyleGANTrain, further: Weighted | None = None
) -> Tensor:
    """Return the discriminator's loss of the settings; images [B, 3, R, R], the fakes without gradient."""
    t = settings
    if t.adversarial == "wgan-gp":
        weights = {"gradient_weight": t.gradient_weight, "drift": t.drift}
        return wasserstein_discriminator_loss(logits, real, fake, **weights, further=further)
    return logistic_discriminator_loss(logits, real, fake, gradient_weight=t.gradient_weight, further=further)


def generator_loss(logits: Tensor, settings: StyleGANTrain) -> Tensor:
    """Return the generator's adversarial loss of the logits [B] of its images."""
    return -logits.mean() if settings.adversarial == "wgan-gp" else F.softplus(-logits).mean()


def feature_loss(
    source: Mapping[int, Tensor], translated: Mapping[int, Tensor], weights: Mapping[int, float], power: int = 2
) -> Tensor:
    """Weighted sum over resolutions of the mean distance between features of each source and its translation.

    Features [B, C, r, r] by resolution r; squared, or L1 (power 1). `weights` must name a resolution with a
    weight other than zero to have an effect; without one the loss is zero.
    """
    distance = F.mse_loss if power == 2 else F.l1_loss
    terms = [weight * distance(translated[r], source[r]) for r, weight in weights.items() if weight != 0]
    return torch.stack(terms).sum() if terms else next(iter(translated.values())).new_zeros(())
