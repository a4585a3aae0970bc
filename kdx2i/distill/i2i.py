"""Stage 1 for image-to-image translation (section 3.2 of the paper), as a `Trainable`.

The objective is eq. (5) over eqs. (1) to (4): one function each in `kdx2i.distill.equations.i2i`. Latent guidance
replaces E_R(x2) by the mapping network on the noise that x2 was drawn from (protocol entry i2i-latent).
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from kdx2i.distill.equations.i2i import (
    content_encoder_alignment,
    discriminator_adversarial_loss,
    full_objective,
    generator_adversarial_loss,
    generator_alignment,
    style_encoder_alignment,
)
from kdx2i.distill.hints import HintLayers
from kdx2i.distill.transfers import TransferSettings
from kdx2i.errors import UserError
from kdx2i.methods.base import Features, I2IStudent
from kdx2i.methods.settings import I2IDistillSettings
from kdx2i.teacher.stylegan2 import Discriminator
from kdx2i.teacher.stylegan2.weights import Teacher
from kdx2i.teacher.triplets import Triplets, draw_triplets
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place
from kdx2i.training.sampling import columns


class I2IDistillation:
    """Distils a teacher into a student with one domain; `transfer` says which terms take part."""

    def __init__(
        self,
        student: I2IStudent,
        teacher: Teacher,
        settings: I2IDistillSettings,
        transfer: TransferSettings,
        device: torch.device,
    ) -> None:
        self.student, self.settings, self.transfer, self.device = student, settings, transfer, device
        _check_fit(student, teacher)
        self.teacher_generator = place(teacher.generator, device)
        self.teacher_discriminator = place(teacher.discriminator, device)
        self.preview_triplets = self.draw(columns(settings.batch), share=False)
        hints = {"hints": place(self._hint_layers(), device)} if transfer.alignment else {}
        self.networks: Mapping[str, nn.Module] = {**student.networks, **hints}
        self.averages: Mapping[str, nn.Module] = {
            name: copy.deepcopy(module).eval().requires_grad_(False)
            for name, module in student.networks.items()
            if name != "discriminator"
        }
        generating = [
            p for name, module in self.networks.items() if name != "discriminator" for p in module.parameters()
        ]
        judging = list(self.networks["discriminator"].parameters())
        adversary = {"discriminator": self._adam(judging)} if transfer.trains_discriminator else {}
        self.optimizers: Mapping[str, Optimizer] = {"generator": self._adam(generating), **adversary}

    def draw(self, batch: int, *, share: bool = True, others: bool = False) -> Triplets:
        """Draw triplets for this student from torch's global generator, as `draw_triplets` does."""
        return draw_triplets(
            self.teacher_generator,
            batch,
            layers=self.settings.mixing_layers,
            mixing=self.transfer.mixing,
            truncation=self.settings.truncation,
            noise_dim=self.student.noise_dim,
            lifted=self.settings.noise == "lift",
            share=share,
            others=others,
        )

    def _adam(self, parameters: list[nn.Parameter]) -> Adam:
        s = self.settings
        return adam(parameters, s.learning_rate, (s.beta1, s.beta2), weight_decay=s.weight_decay)

    @torch.no_grad()
    def _hint_layers(self) -> nn.Module:
        """Make the hint layers from the channels that one forward pass shows."""
        probe = self.preview_triplets
        content, encoded = self.student.encode(probe.x1[:1])
        style, styled = self.student.style_from_image(probe.x2[:1])
        decoded = self.student.decode(content, style)[1]
        target = self.judged(probe.x1[:1])
        pairs = {
            "encoder": (target, encoded),
            "style": (target, styled),
            "generator": (probe.features, decoded),
        }
        return nn.ModuleDict(
            {name: HintLayers(*pairs[name], self.settings.hints) for name in pairs if name in self.transfer.alignment}
        )

    def judged(self, x: Tensor) -> Features:
        """Return D_T(x)_l [B, C, r, r] of images x [B, 3, R, R] by resolution r.

        Without from-RGB's output where only ResBlocks count (protocol entry i2i-from-rgb).
        """
        features = teacher_features(self.teacher_discriminator, x)
        return features if self.settings.from_rgb else {r: f for r, f in features.items() if r < x.shape[-1]}

    def matched(self, name: str, teacher: Features, student: Features) -> tuple[Features, Features]:
        """Return both sides' features at the resolutions that they share, of one width."""
        hints = self.networks["hints"]
        return hints[name](teacher, student)  # type: ignore[index,no-any-return]

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Draw a batch of triplets; update the discriminator by eq. (4), then the student by eq. (5)."""
        s = self.settings
        triplets = self.draw(s.batch)
        with autocast(self.device, s.precision):
            images, alignments = self._generate(triplets)
        scalars: dict[str, Tensor] = {}
        if self.transfer.trains_discriminator:
            scalars["d"] = self._discriminator_step(triplets.y, images.detach())
        if self.transfer.adversarial:
            discriminator = self.networks["discriminator"].requires_grad_(False)
            with autocast(self.device, s.precision):
                scalars["adv"] = generator_adversarial_loss(self.student.discriminate(images), s.adversarial)
            discriminator.requires_grad_(True)
        total = full_objective(scalars.get("adv"), list(alignments.values()), s.lambda_adv, s.lambda_kdl)
        step_optimizers(total, self.optimizers["generator"])
        return scalars | alignments

    def _generate(self, triplets: Triplets) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the student's images (reference-guided, then latent-guided) and what counts of eqs. (1) to (3)."""
        s = self.settings
        content, encoded = self.student.encode(triplets.x1)
        style, styled = self.student.style_from_image(triplets.x2)
        guided = 1
        if s.guidance == "both":
            latent = self.student.style_from_noise(triplets.noise)
            style, content, guided = torch.cat([style, latent]), torch.cat([content, content]), 2
        images, decoded = self.student.decode(content, style)
        losses = self._encoder_alignments(triplets, encoded, styled)
        if "generator" in self.transfer.alignment:
            targets = {r: torch.cat([f] * guided) for r, f in triplets.features.items()}
            losses["generator"], losses["image"] = generator_alignment(
                self.matched("generator", targets, decoded),
                (torch.cat([triplets.y] * guided), images),
                s.alpha,
                s.beta,
                s.norm,
            )
        return images, losses

    def _encoder_alignments(self, triplets: Triplets, encoded: Features, styled: Features) -> dict[str, Tensor]:
        """Return eqs. (1) and (2), as far as they take part."""
        s, terms, losses = self.settings, self.transfer.alignment, {}
        if "encoder" in terms:
            target = self.judged(triplets.x1)
            losses["encoder"] = content_encoder_alignment(*self.matched("encoder", target, encoded), s.gamma, s.norm)
        if "style" in terms:
            target = self.judged(triplets.x2)
            losses["style"] = style_encoder_alignment(*self.matched("style", target, styled), s.tau, s.norm)
        return losses

    def _discriminator_step(self, real: Tensor, fake: Tensor) -> Tensor:
        s = self.settings
        with autocast(self.device, s.precision):
            loss = discriminator_adversarial_loss(self.student.discriminate, real, fake, s.r1_weight)
        step_optimizers(loss, self.optimizers["discriminator"])
        return loss

    def ema_decay(self, step: int) -> float:
        """The configured decay, bounded at the start when `ema_warm_up` is on."""
        return self.settings.average_decay(step)

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Columns are triplets; rows: x1, x2, y, the averaged student's image by reference and by latent guidance."""
        t = self.preview_triplets
        averaged = self.student.with_networks({**self.networks, **self.averages})
        content = averaged.encode(t.x1)[0]
        by_reference = averaged.decode(content, averaged.style_from_image(t.x2)[0])[0]
        latent = averaged.style_from_noise(t.noise)
        by_latent = averaged.decode(content, latent)[0]
        return torch.cat([t.x1, t.x2, t.y, by_reference, by_latent]), len(t.x1)

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""


@torch.no_grad()
def teacher_features(discriminator: Discriminator, images: Tensor) -> Features:
    """Return D_T(x)_l of eqs. (1) and (2) for images [B, 3, R, R], by resolution.

    From-RGB's output at the image's resolution R, and the output [B, C, r, r] of every ResBlock, r = R/2 ... 4.
    """
    _, _, features = discriminator.trunk(images)
    return features


def _check_fit(student: I2IStudent, teacher: Teacher) -> None:
    """Raise `UserError` when a teacher cannot teach a student (protocol entry i2i-latent-noise)."""
    config = teacher.generator.config
    if config.img_resolution != student.resolution:
        raise UserError(
            f"the teacher draws images of {config.img_resolution} px, but the student needs {student.resolution} px: "
            "choose the teacher of that resolution in the preset"
        )
    if config.z_dim < student.noise_dim:
        raise UserError(
            f"the student's noise has {student.noise_dim} dimensions, but the teacher's has only {config.z_dim}: "
            "lower latent_dim in the preset"
        )
