"""The objectives of SDIT (`solver.py` of yaxingwang/SDIT).

Pure functions of `generate(x, c, style) -> image` and `discriminate(x) -> (patch logits, domain logits, style)`;
images [B, 3, H, W] in [-1, 1], domains one-hot [B, C], styles [B, S].
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Generate = Callable[[Tensor, Tensor, Tensor], Tensor]
Discriminate = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Weights:
    """Weights of the terms, by the official names."""

    cls: float = 1.0
    gp: float = 10.0
    rec: float = 10.0
    noise: float = 800.0


def gradient_penalty(discriminate: Discriminate, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Return mean_b (|d sum(patch logits) / d x_b| - 1)^2 at x = mix * real + (1 - mix) * fake, mix [B, 1, 1, 1]."""
    x = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminate(x)[0].sum(), x, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def discriminator_loss(
    discriminate: Discriminate, real: Tensor, labels: Tensor, fake: Tensor, mix: Tensor, weights: Weights
) -> dict[str, Tensor]:
    """Return `real`, `fake`, `cls`, `gp` and the weighted `total` of the discriminator; labels int64 [B]."""
    patches, domains, _ = discriminate(real)
    terms = {
        "real": -patches.mean(),
        "fake": discriminate(fake.detach())[0].mean(),
        "cls": F.cross_entropy(domains, labels),
        "gp": gradient_penalty(discriminate, real, fake, mix),
    }
    total = terms["real"] + terms["fake"] + weights.cls * terms["cls"] + weights.gp * terms["gp"]
    return {**terms, "total": total}


def generator_loss(
    generate: Generate,
    discriminate: Discriminate,
    x: Tensor,
    domains: tuple[Tensor, Tensor],
    targets: Tensor,
    styles: tuple[Tensor, Tensor],
    weights: Weights,
) -> dict[str, Tensor]:
    """Return `adv`, `cls`, `rec`, `noise` and the weighted `total` of the generator.

    `domains` are the one-hot source and target, `targets` int64 [B] the target again, `styles` that of the
    translation and the fresh one of the way back.
    """
    source, target = domains
    fake = generate(x, target, styles[0])
    patches, logits, style = discriminate(fake)
    terms = {
        "adv": -patches.mean(),
        "cls": F.cross_entropy(logits, targets),
        "rec": (x - generate(fake, source, styles[1])).abs().mean(),
        "noise": (styles[0] - style).abs().mean(),
    }
    total = terms["adv"] + weights.cls * terms["cls"] + weights.rec * terms["rec"] + weights.noise * terms["noise"]
    return {**terms, "total": total}
