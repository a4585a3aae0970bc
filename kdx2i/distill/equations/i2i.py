"""Eqs. (1) to (5) of section 3.2: distillation for image-to-image translation.

The weights are the paper's: gamma, tau, alpha and beta are 0.1, lambda_adv and lambda_kdl 1. The paper gives each layer
a weight of its own (gamma_l, tau_l, alpha_l) and then one value to all of them, so each is one number here. It does not
say over what its L1 norms are taken: `l1` has the readings (protocol entry i2i-norm). Where the widths of teacher and
student differ, a hint layer (`kdx2i.distill.hints`) has mapped one of them before (protocol entry i2i-hints).
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.methods.base import Features
from kdx2i.teacher.stylegan2.training import r1_penalty

Norm = Literal["mean", "positions", "sum"]
Adversarial = Literal["non-saturating", "saturating"]


def l1(a: Tensor, b: Tensor, norm: Norm) -> Tensor:
    """Return ||a - b||_1 of eqs. (1) to (3) for tensors [B, C, H, W], a mean over the batch (protocol entry i2i-norm).

    `mean`: over all elements. `positions`: the norm of the C-vector at each position, averaged over the
    positions. `sum`: over all of a sample's elements.
    """
    distance = (a - b).abs()
    if norm == "mean":
        return distance.mean()
    return distance.sum(dim=1).mean() if norm == "positions" else distance.flatten(1).sum(dim=1).mean()


def feature_distance(teacher: Features, student: Features, norm: Norm) -> Tensor:
    """Return sum_l ||T_l - S_l||_1, the sum of eqs. (1) to (3) over the resolutions l, a scalar >= 0.

    Both sides have the same resolutions and, at each, the same shape [B, C, r, r]. The paper counts ResBlocks; teacher
    and student are paired here by the resolution of their features.
    """
    total = torch.zeros([], device=next(iter(student.values())).device)
    for resolution, feature in student.items():
        total = total + l1(feature, teacher[resolution], norm)
    return total


def content_encoder_alignment(teacher: Features, student: Features, gamma: float, norm: Norm) -> Tensor:
    """Eq. (1): L_kdl^e = sum_l gamma_l ||D_T(x1)_l - E_S(x1)_l||_1, a scalar >= 0.

    `teacher`: the features D_T(x1)_l of the teacher's discriminator; `student`: those of the content encoder E_S.
    Choices: protocol entry i2i-norm, protocol entry i2i-hints, protocol entry stargan-v2-hint-block.
    """
    return gamma * feature_distance(teacher, student, norm)


def style_encoder_alignment(teacher: Features, student: Features, tau: float, norm: Norm) -> Tensor:
    """Eq. (2): L_kdl^r = sum_l tau_l ||D_T(x2)_l - E_R(x2)_l||_1, a scalar >= 0.

    `teacher`: the features D_T(x2)_l of the teacher's discriminator; `student`: those of the reference encoder E_R.
    Choices: protocol entry i2i-norm, protocol entry i2i-hints. The paper has no such term for latent guidance, whose
    mapping network has no features to align.
    """
    return tau * feature_distance(teacher, student, norm)


def generator_alignment(
    features: tuple[Features, Features], images: tuple[Tensor, Tensor], alpha: float, beta: float, norm: Norm
) -> tuple[Tensor, Tensor]:
    """Eq. (3): L_kdl^g = sum_l alpha_l ||G'_T(Phi(s1, s2))_l - G_S(E_S(x1), E_R(x2))_l||_1 + beta ||y - y_S||_1.

    Of each pair the teacher's side comes first: `features` by resolution, `images` y and y_S [B, 3, R, R] in [-1, 1],
    not clamped. Returns the two summands, scalars >= 0, apart, so that each can be logged. With latent guidance the
    batch holds the images of both guidances, and the mean over it is the mean of both (protocol entry i2i-latent).
    Other choices: protocol entry i2i-norm, protocol entry i2i-hints, protocol entry stargan-v2-hint-block. The
    sentence before the printed equation names y_t on both sides; the equation has the student's image.
    """
    teacher_features, student_features = features
    y, drawn = images
    return alpha * feature_distance(teacher_features, student_features, norm), beta * l1(drawn, y, norm)


def discriminator_adversarial_loss(
    discriminate: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, r1_weight: float
) -> Tensor:
    """Eq. (4), the discriminator's side: minimise -L_adv = -E[log D_S(y)] - E[log(1 - D_S(y_S))].

    `discriminate` maps images [B, 3, R, R] to logits [B], D_S is their sigmoid; `real` are the teacher's y, `fake` the
    student's y_S without their graph; expectations are batch means. Added is r1_weight/2 E[|grad D(y)|^2], of which
    the paper is silent (protocol entry i2i-stage1-r1).
    """
    real = real.detach().requires_grad_(r1_weight > 0)
    logits = discriminate(real)
    loss = F.softplus(-logits).mean()
    if r1_weight > 0:
        loss = loss + 0.5 * r1_weight * r1_penalty(logits, real)
    return loss + F.softplus(discriminate(fake)).mean()


def generator_adversarial_loss(logits: Tensor, form: Adversarial) -> Tensor:
    """Eq. (4), the generator's side: minimise E[log(1 - D_S(y_S))] (`saturating`, as printed, <= 0).

    `logits` [B] of the student's images. `non-saturating`: -E[log D_S(y_S)] >= 0 (protocol entry i2i-adversarial).
    """
    return F.softplus(-logits).mean() if form == "non-saturating" else -F.softplus(logits).mean()


def full_objective(
    adversarial: Tensor | None, alignments: Sequence[Tensor], lambda_adv: float, lambda_kdl: float
) -> Tensor:
    """Eq. (5), the student's side: lambda_adv L_adv + lambda_kdl (L_kdl^e + L_kdl^r + L_kdl^g), a scalar.

    `adversarial`: the generator's side of eq. (4), None without that loss. `alignments`: the values of eqs. (1) to
    (3), eq. (3) as its two summands; none where the ablation leaves them out. One of both must be there. The
    discriminator's side of the min-max is its loss of eq. (4), which lambda_adv only scales: it is not applied there.
    """
    weighted = [] if adversarial is None else [lambda_adv * adversarial]
    weighted += [lambda_kdl * alignment for alignment in alignments]
    return sum(weighted, torch.zeros([], device=weighted[0].device))
