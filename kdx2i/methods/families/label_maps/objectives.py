"""The objectives of SPADE, which are SEAN's, too (`models/pix2pix_model.py` of NVlabs/SPADE and ZPdesu/SEAN).

Images are [B, 3, H, W] in [-1, 1], maps one-hot [B, N, H, W]. Each side judges fakes and real images in one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from kdx2i.methods.families.label_maps.discriminator import Judgement
from kdx2i.methods.families.label_maps.losses import GanMode, adversarial_loss, divergence, feature_matching


class PairJudge(Protocol):
    """A discriminator of images with their maps."""

    def judge_pair(self, condition: Tensor, fake: Tensor, real: Tensor, /) -> tuple[Judgement, Judgement]:
        """Judge fakes and real images [B, 3, H, W] of the same maps [B, N, H, W] in one batch."""


@dataclass(frozen=True)
class Weights:
    """Weights of the generator's terms, by the official names."""

    feat: float = 10.0
    vgg: float = 10.0
    kld: float = 0.05


def generator_loss(
    discriminator: PairJudge,
    maps: Tensor,
    fake: Tensor,
    real: Tensor,
    *,
    weights: Weights,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None,
    code: tuple[Tensor, Tensor] | None = None,
    mode: GanMode = "hinge",
) -> dict[str, Tensor]:
    """Return `adv`, the weighted `feat`, `vgg` and `kld`, as far as they have a weight, and `total`.

    `perceptual` compares fakes and real images; `code` is the mean and log-variance [B, Z] of the encoder.
    """
    judged_fake, judged_real = discriminator.judge_pair(maps, fake, real)
    terms = {"adv": adversarial_loss(judged_fake, real=True, for_discriminator=False, mode=mode)}
    if weights.feat:
        terms["feat"] = weights.feat * feature_matching(judged_fake, judged_real)
    if weights.vgg and perceptual is not None:
        terms["vgg"] = weights.vgg * perceptual(fake, real)
    if code is not None:
        terms["kld"] = weights.kld * divergence(*code)
    return {**terms, "total": sum(terms.values(), start=fake.new_zeros(()))}


def discriminator_loss(
    discriminator: PairJudge, maps: Tensor, fake: Tensor, real: Tensor, *, mode: GanMode = "hinge"
) -> dict[str, Tensor]:
    """Return `fake`, `real` and `total` of the discriminator; the fake is a constant."""
    judged_fake, judged_real = discriminator.judge_pair(maps, fake.detach(), real)
    terms = {
        "fake": adversarial_loss(judged_fake, real=False, for_discriminator=True, mode=mode),
        "real": adversarial_loss(judged_real, real=True, for_discriminator=True, mode=mode),
    }
    return {**terms, "total": terms["fake"] + terms["real"]}
