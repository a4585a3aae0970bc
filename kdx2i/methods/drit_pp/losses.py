"""The objectives of DRIT++ (`MD_multi` in `model.py` of HsinYingLee/MDMM).

Mode seeking is from `src/model.py` of HsinYingLee/DRIT.

Pure functions of images [B, 3, H, W] in [-1, 1], one-hot domains [B, C] and attributes [B, A]; `discriminate(x)`
returns patch logits [B, 1, h, w] and domain logits [B, C].
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

Discriminate = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms (see `settings.Train`); `batch` multiplies what officially sums over the batch.

    That is 1, or the number of processes that share a batch.
    """

    cls: float = 1.0
    cls_generator: float = 5.0
    rec: float = 10.0
    content: float = 0.01
    kl: float = 0.01
    latent: float = 10.0
    batch: float = 1.0


@dataclass(frozen=True)
class Pass:
    """One forward pass over pairs of images: codes, the images generated from them, and a second translation back.

    `swapped` has an image's domain and attribute and its partner's content, `prior` the same with noise for
    the attribute; `log_variance` is None for an attribute without distribution; `regressed` is the attribute
    that the encoder finds in the first image of `prior`.
    """

    content: Tensor
    mean: Tensor
    log_variance: Tensor | None
    swapped: Tensor
    reconstruction: Tensor
    cycle: Tensor
    prior: tuple[Tensor, ...]
    regressed: Tensor


def adversarial(logits: Tensor, target: float) -> Tensor:
    """Return the binary cross entropy of logits [B, ...] to 0 or 1: mean over patches, sum over a batch (official)."""
    return len(logits) * F.binary_cross_entropy_with_logits(logits, logits.new_full(logits.shape, target))


def classification(logits: Tensor, domains: Tensor) -> Tensor:
    """Return the mean binary cross entropy of every domain's own logit [B, C]."""
    return F.binary_cross_entropy_with_logits(logits, domains.to(logits.dtype))


def divergence(mean: Tensor, log_variance: Tensor | None, scale: float = 1.0) -> Tensor:
    """Return `scale` * KL(N(mean, exp(log_variance)) | N(0, 1)), a sum over batch and dimensions.

    Without a variance it is the mean square of the attribute, whatever the scale.
    """
    if log_variance is None:
        return mean.square().mean()
    return -0.5 * scale * (1 + log_variance - mean.square() - log_variance.exp()).sum()


def mode_seeking(z: tuple[Tensor, Tensor], fakes: tuple[Tensor, Tensor]) -> Tensor:
    """Return 1 / (mean |G(z1) - G(z2)| / mean |z1 - z2| + 1e-5) of noise [B, A] and images [B, 3, H, W]."""
    return 1 / ((fakes[0] - fakes[1]).abs().mean() / (z[0] - z[1]).abs().mean() + 1e-5)


def discriminator_loss(
    discriminate: Discriminate, x: Tensor, domains: Tensor, fake: Tensor, weights: Weights
) -> Tensor:
    """Return the loss on real images [B, 3, H, W] and their domains [B, C], and on fakes."""
    of_real, domains_of_real = discriminate(x)
    of_fake, _ = discriminate(fake.detach())
    apart = adversarial(of_real, 1.0) + adversarial(of_fake, 0.0)
    return weights.batch * apart + weights.cls * classification(domains_of_real, domains)


def generator_terms(discriminate: Discriminate, fake: Tensor, domains: Tensor, weights: Weights) -> Tensor:
    """Return the loss of generated images [B, 3, H, W]: real-looking and of their domain [B, C]."""
    logits, domain_logits = discriminate(fake)
    classes = classification(domain_logits, domains)
    return weights.batch * adversarial(logits, 1.0) + weights.cls_generator * classes


def joint_loss(
    discriminate: Discriminate, x: Tensor, domains: Tensor, forward: Pass, weights: Weights
) -> dict[str, Tensor]:
    """Return the objective `total` of encoders and generator, and its reconstruction terms.

    Images x [B, 3, H, W] and their domains [B, C].
    """
    terms = {"rec": (x - forward.reconstruction).abs().mean(), "cyc": (x - forward.cycle).abs().mean()}
    total = (
        generator_terms(discriminate, forward.swapped, domains, weights)
        + weights.rec * (terms["rec"] + terms["cyc"])
        + weights.content * forward.content.square().mean()
        + weights.kl * divergence(forward.mean, forward.log_variance, weights.batch)
    )
    return {**terms, "total": total}


def prior_loss(
    discriminate: Discriminate, domains: Tensor, z: tuple[Tensor, ...], forward: Pass, weights: Weights
) -> dict[str, Tensor]:
    """Return the objective `total` of the second step, content encoder and generator, and its latent regression.

    Domains [B, C] and noise `z`, each [B, A]: the two images of a pair (neighbours in the batch) share their noise; the
    regression counts for each of them.
    A second noise brings mode seeking, for each direction of the translation.
    """
    regression = (forward.regressed - z[0]).abs().mean()
    total = 2 * weights.latent * regression
    for fake in forward.prior:
        total = total + generator_terms(discriminate, fake, domains, weights)
    if len(forward.prior) == 2:
        for side in (0, 1):
            first, second = (fake[side::2] for fake in forward.prior)
            total = total + mode_seeking((z[0][side::2], z[1][side::2]), (first, second))
    return {"latent": regression, "total": total}
