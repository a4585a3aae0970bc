"""The objectives of S2IGAN (`steps/trainer.py` of xinshengwang/S2IGAN at 8cca123).

Pure functions of `discriminate(images [B, 3, r, r], condition [B, C]) -> (conditional, unconditional logits [B])` and
`relate(first [B, E], second [B, E]) -> logits [B, 4]`. The condition of every discriminator is mu.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Discriminate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Relate = Callable[[Tensor, Tensor], Tensor]

SAME, SIMILAR, WRONG, GENERATED = range(4)
"""Labels of the relation supervisor; officially a generated image is "similar" and the last one never occurs."""


@dataclass(frozen=True)
class Weights:
    """Weights of the terms (`COEFF` of the configuration)."""

    unconditional: float = 1.0
    relation: float = 1.0
    kl: float = 2.0


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    """Return the mean binary cross entropy, a scalar, of logits [B] with one label."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def discriminator_loss(
    discriminate: Discriminate, real: Tensor, wrong: Tensor, fake: Tensor, mu: Tensor, unconditional: float = 1.0
) -> dict[str, Tensor]:
    """Return `real`, `wrong`, `fake` and the `total` of one discriminator for images [B, 3, r, r] and mu [B, C].

    Three calls, each with its own batch statistics. A wrong image is a real one to the unconditional head.
    """
    mu = mu.detach()
    terms = {}
    for name, images, fits, is_real in (("real", real, 1, 1), ("wrong", wrong, 0, 1), ("fake", fake.detach(), 0, 0)):
        conditional, whole = discriminate(images, mu)
        terms[name] = cross_entropy(conditional, fits) + unconditional * cross_entropy(whole, is_real)
    return {**terms, "total": terms["real"] + terms["wrong"] + terms["fake"]}


def relation(logits: Tensor, label: int) -> Tensor:
    """Return the cross entropy, a scalar, of relation logits [B, 4] with one label."""
    return F.cross_entropy(logits, torch.full((len(logits),), label, device=logits.device))


def relation_loss(
    relate: Relate, real: Tensor, similar: Tensor, fake: Tensor, wrong: Tensor, generated: int = SIMILAR
) -> Tensor:
    """Return the loss of the relation supervisor, a scalar, for embeddings [B, E] of the largest images.

    Each pair begins with the real image. `generated` is the label of (real, fake): protocol entry
    s2igan-relation-labels.
    """
    pairs = ((real, SAME), (similar, SIMILAR), (fake.detach(), generated), (wrong, WRONG))
    return torch.stack([relation(relate(real, other), label) for other, label in pairs]).sum()


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the divergence of N(mu, exp(logvar)) from N(0, 1), both [B, C], as a mean over all elements."""
    return -0.5 * (1.0 + logvar - mu.square() - logvar.exp()).mean()


def generator_loss(
    discriminators: Sequence[Discriminate],
    fakes: Sequence[Tensor],
    mu: Tensor,
    logvar: Tensor,
    weights: Weights,
    related: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return `adversarial`, `kl`, `relation` where there is one, and the weighted `total` of the generator.

    `fakes` [B, 3, r, r] are in the order of `discriminators`; mu and logvar [B, C]. `related` are the relation logits
    [B, 4] of (real, fake) at the largest size. mu is not detached: the condition learns from the discriminators too.
    """
    judged = [discriminate(fake, mu) for discriminate, fake in zip(discriminators, fakes, strict=True)]
    adversarial = torch.stack(
        [cross_entropy(fits, 1) + weights.unconditional * cross_entropy(whole, 1) for fits, whole in judged]
    ).sum()
    terms = {"adversarial": adversarial, "kl": kl_divergence(mu, logvar)}
    total = adversarial + weights.kl * terms["kl"]
    if related is not None:
        terms["relation"] = relation(related, SIMILAR)
        total = total + weights.relation * terms["relation"]
    return {**terms, "total": total}
