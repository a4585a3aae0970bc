"""Eqs. (6) to (8) of section 3.3: distillation for text, speech and label maps.

L_adv of eq. (8) is that of eq. (4), with a condition beside each image: `kdx2i.distill.equations.i2i`, or
`mismatched_discriminator_loss` where images with a wrong condition count as generated. `l1` has the readings of the
norms (protocol entry i2i-norm).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.distill.equations.i2i import Norm, l1
from kdx2i.methods.base import Features
from kdx2i.teacher.stylegan2.training import r1_penalty

Side = tuple[Features, Features, Tensor, Tensor]
"""Of one image of a pair: teacher's and student's features by resolution, teacher's and student's image."""


def pair_alignment(
    of_x: Side, of_y: Side, alpha: Mapping[int, float], beta: float, norm: Norm
) -> tuple[Tensor, Tensor]:
    """Eq. (6): sum_l alpha_l ||G'_T(s1)_l - G_S(z, G'_T(s1)_1, c_x)_l||_1 + beta ||x1 - x1_S||_1, and the same of y.

    Of y: sum_l alpha_l ||G'_T(Phi(s1, s2))_l - G_S(z, G'_T(Phi(s1, s2))_1, c_y)_l||_1 + beta ||y - y_S||_1; L_kdl is
    the sum of all. `of_x` and `of_y`: features [B, C, r, r] and images [B, 3, R, R] in [-1, 1], not clamped; `alpha` by
    resolution, whose resolutions are those that count (protocol entry x2i-aligned, protocol entry x2i-dimension).
    Returns the features' and the images' part, scalars >= 0, apart, so that each can be logged.
    """
    features, images = (torch.zeros([], device=of_x[2].device) for _ in range(2))
    for teacher, student, image, drawn in (of_x, of_y):
        for resolution, weight in alpha.items():
            features = features + weight * l1(teacher[resolution], student[resolution], norm)
        images = images + beta * l1(image, drawn, norm)
    return features, images


def semantic_diversity(drawn_x: Tensor, drawn_y: Tensor, norm: Norm) -> Tensor:
    """Eq. (7): L_srl = -||x1_S - y_S||_1, a scalar <= 0, of the student's images [B, 3, R, R].

    The second line writes them as G_S(z, G'_T(s1)_1, c_x) and G_S(z, G'_T(Phi(s1, s2))_1, c_y); the third has
    G'_T(s1)_1 in both, which is the same where z is shared (protocol entry x2i-noise) and the cut of the triplets lies
    above the first feature (`X2IDistillSettings` refuses others): then only the condition differs.
    """
    return -l1(drawn_x, drawn_y, norm)


def full_objective(
    adversarial: Tensor | None,
    alignments: Sequence[Tensor],
    diversity: Tensor | None,
    weights: tuple[float, float, float],
) -> Tensor:
    """Eq. (8), the student's side: lambda_adv L_adv + lambda_kdl L_kdl + lambda_srl L_srl, a scalar.

    `weights` are (lambda_adv, lambda_kdl, lambda_srl); `alignments` the two parts of eq. (6). A term that the transfer
    leaves out is None or empty; one at least must be there.
    """
    lambda_adv, lambda_kdl, lambda_srl = weights
    weighted = [] if adversarial is None else [lambda_adv * adversarial]
    weighted += [lambda_kdl * alignment for alignment in alignments]
    weighted += [] if diversity is None else [lambda_srl * diversity]
    return sum(weighted, torch.zeros([], device=weighted[0].device))


def mismatched_discriminator_loss(
    discriminate: Callable[[Tensor, Tensor], Tensor], real: Tensor, fake: Tensor, c: Tensor, r1_weight: float
) -> Tensor:
    """Return the loss with wrong pairs: -E log D(y, c) - (E log(1 - D(y_S, c)) + E log(1 - D(y, c')))/2.

    c' is the condition c [B, ...] of the batch's next image; `real`, `fake` [B, 3, R, R], `fake` without its graph; R1
    is added on the real images with their own condition (protocol entry x2i-discriminator-pairs).
    """
    real = real.detach().requires_grad_(r1_weight > 0)
    logits = discriminate(real, c)
    loss = F.softplus(-logits).mean()
    if r1_weight > 0:
        loss = loss + 0.5 * r1_weight * r1_penalty(logits, real)
    wrong = F.softplus(discriminate(real.detach(), c.roll(-1, 0))).mean()
    return loss + (F.softplus(discriminate(fake, c)).mean() + wrong) / 2
