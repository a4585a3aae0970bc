"""Stage 1 for text, speech and label maps (section 3.3 of the paper), as a `Trainable`.

The objective is eq. (8) over eqs. (4), (6) and (7): one function each in `kdx2i.distill.equations`. The teacher's
discriminator stands in for the condition (S_E), and the teacher's first feature enters the student's generator.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from kdx2i.distill.equations.i2i import discriminator_adversarial_loss, generator_adversarial_loss
from kdx2i.distill.equations.x2i import (
    full_objective,
    mismatched_discriminator_loss,
    pair_alignment,
    semantic_diversity,
)
from kdx2i.distill.hints import HintLayers
from kdx2i.distill.pairs import Pairs, draw_pairs
from kdx2i.distill.semantic import FirstFeature, PseudoConditions, SemanticEncoder
from kdx2i.distill.transfers import TransferSettings
from kdx2i.errors import UserError
from kdx2i.methods.base import Features
from kdx2i.methods.conditional_settings import X2IDistillSettings
from kdx2i.methods.conditional_student import X2IStudent
from kdx2i.teacher.stylegan2.weights import Teacher
from kdx2i.training.distributed import shard, world_size
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place
from kdx2i.training.sampling import columns

CALIBRATION = 8
"""Batches as large as a preview from which statistics of the teacher and the student's size are taken."""


@dataclass(frozen=True)
class Drawn:
    """What the student makes of a batch of pairs: x1_S and y_S [B, 3, R, R], their features, and c_x and c_y."""

    x1: Tensor
    y: Tensor
    features_x: Features
    features_y: Features
    c_x: Tensor
    c_y: Tensor


class X2IDistillation:
    """Distils a teacher into a conditional student; `transfer` says which terms take part.

    `semantic_encoder` is S_E, None where conditions are constants.
    `networks` are the student's and those of stage 1 alone, of which stage 2 takes none: `hints`; `first`, for the
    teacher's first feature; `conditions`, which scales and projects S_E's codes; `semantic_encoder`, S_E where it is
    trained. `initial` are the tensors of the undistilled student, on the CPU.
    """

    def __init__(
        self,
        student: X2IStudent,
        teacher: Teacher,
        settings: X2IDistillSettings,
        transfer: TransferSettings,
        device: torch.device,
    ) -> None:
        self.student, self.settings, self.transfer, self.device = student, settings, transfer, device
        _check_fit(student, teacher, settings, transfer)
        self.semantic_encoder: SemanticEncoder | None = None
        self.teacher_generator = place(teacher.generator, device)
        self.shown = columns(settings.batch)
        self.preview_pairs = self.draw(self.shown, share=False)
        self.preview_noise = torch.randn(self.shown, student.noise_dim).to(device)
        generating = {name: network for name, network in student.networks.items() if name != "discriminator"}
        self.initial = {
            name: {key: t.detach().cpu().clone() for key, t in network.state_dict().items()}
            for name, network in generating.items()
        }
        own = self._own_networks(teacher)
        self.alpha = self._alpha(own) if "hints" in own else {}
        self.networks: Mapping[str, nn.Module] = {**student.networks, **own}
        averaged = {**generating, **{name: network for name, network in own.items() if name != "hints"}}
        self.averages: Mapping[str, nn.Module] = {
            name: copy.deepcopy(network).eval().requires_grad_(False) for name, network in averaged.items()
        }
        s = settings
        trained = [p for network in (generating | own).values() for p in network.parameters() if p.requires_grad]
        judging = list(self.networks["discriminator"].parameters())
        adversary = (
            {"discriminator": self._adam(judging, s.discriminator_learning_rate)}
            if transfer.trains_discriminator
            else {}
        )
        self.optimizers: Mapping[str, Optimizer] = {"generator": self._adam(trained, s.learning_rate), **adversary}

    def _adam(self, parameters: list[nn.Parameter], rate: float) -> Adam:
        return adam(parameters, rate, (self.settings.beta1, self.settings.beta2))

    # -- what is made once --------------------------------------------------------------------------

    @torch.no_grad()
    def _own_networks(self, teacher: Teacher) -> dict[str, nn.Module]:
        """Return the networks of stage 1, sized and scaled by what the teacher and the new student draw."""
        s = self.settings
        batches = [self.draw(self.shown, share=False) for _ in range(CALIBRATION)]
        own = self._condition_networks(teacher, batches) if self.transfer.condition == "pseudo" else {}
        self.networks = own
        c = self.pseudo_condition(batches[0].x1)
        # Of a copy: a forward pass moves batch statistics.
        trial = self.student.with_networks(copy.deepcopy(dict(self.student.networks)))
        drawn = trial.generate(torch.randn(self.shown, self.student.noise_dim).to(self.device), c, None)[1]
        if s.first_resolution not in drawn:
            raise UserError(
                f"the student has features at {sorted(drawn)} px, and none at {s.first_resolution} px, where the "
                "teacher's first feature enters: choose another first_resolution"
            )
        teachers, scaled = batches[0].features_x, s.first_scale == "student"
        own["first"] = FirstFeature(teachers[s.first_resolution], drawn[s.first_resolution], scaled=scaled)
        if "generator" in self.transfer.alignment:
            own["hints"] = HintLayers(self._aligned(teachers), self._aligned(drawn), s.hints)
        return {name: place(network, self.device) for name, network in own.items()}

    def _condition_networks(self, teacher: Teacher, batches: Sequence[Pairs]) -> dict[str, nn.Module]:
        """Return the network that makes conditions of S_E's codes, and S_E where it is trained."""
        s, discriminator = self.settings, place(teacher.discriminator, self.device)
        encoder = SemanticEncoder(discriminator, s.minibatch_statistics, torch.cat([p.x1 for p in batches])).eval()
        _check_batch(encoder, s.batch)
        self.semantic_encoder = encoder.requires_grad_(s.semantic_encoder == "trained")
        codes = torch.cat([encoder(images) for p in batches for images in (p.x1, p.y)])
        width, trained = self.student.condition_dim, s.projection == "trained"
        conditions = PseudoConditions(codes, width, s.condition_scale, trained=trained)
        return {"conditions": conditions} | ({"semantic_encoder": encoder} if s.semantic_encoder == "trained" else {})

    def _aligned(self, features: Features) -> Features:
        """Return the features [B, C, r, r] that may count in eq. (6): above the first one, or from it on."""
        s = self.settings
        lowest = s.first_resolution + (1 if s.aligned == "above-first" else 0)
        return {r: f for r, f in features.items() if r >= lowest}

    def _alpha(self, own: Mapping[str, nn.Module]) -> dict[int, float]:
        """Return alpha_l by resolution, by the dimension of what is compared: the width that hint layers map to."""
        hints, s = own["hints"], self.settings
        assert isinstance(hints, HintLayers)
        teachers = self.preview_pairs.features_y
        widths = {r: teachers[r].shape[1] for r in hints.shared}
        if s.hints == "teacher-to-student":
            widths |= {int(r): int(layer.out_channels) for r, layer in hints.maps.items()}  # type: ignore[arg-type]
        return {r: s.feature_weight(widths[r], r) for r in hints.shared}

    # -- what the student is given -------------------------------------------------------------------

    def draw(self, batch: int, *, share: bool = True) -> Pairs:
        """Draw pairs for this student from torch's global generator, as `draw_pairs` does."""
        s = self.settings
        return draw_pairs(self.teacher_generator, batch, layers=s.mixing_layers, truncation=s.truncation, share=share)

    def pseudo_condition(self, images: Tensor, networks: Mapping[str, nn.Module] | None = None) -> Tensor:
        """Return c of the generator for images [B, 3, R, R]: S_E's code as the student takes it, or 1.

        `networks` are those in use, by default those that are trained.
        """
        if self.transfer.condition == "constant":
            return self.student.constant_condition(1.0, len(images)).to(self.device)
        used = self.networks if networks is None else networks
        encoder = used.get("semantic_encoder", self.semantic_encoder)
        assert encoder is not None
        c: Tensor = used["conditions"](encoder(images))
        return c

    def judged_condition(self, c: Tensor) -> Tensor:
        """Return the discriminator's condition for the generator's c [B, ...]: the same without its graph, or 0."""
        if self.transfer.condition == "constant" or self.settings.discriminator_condition == "zero":
            return self.student.constant_condition(0.0, len(c)).to(self.device)
        return c.detach()

    def first_feature(self, feature: Tensor, networks: Mapping[str, nn.Module] | None = None) -> Tensor:
        """Return what enters the student for a teacher's first feature [B, C, r, r]."""
        used = self.networks if networks is None else networks
        first: Tensor = used["first"](feature)
        return first

    def matched(self, teacher: Features, student: Features) -> tuple[Features, Features]:
        """Return both sides' features that count in eq. (6), of one width."""
        hints: tuple[Features, Features] = self.networks["hints"](self._aligned(teacher), self._aligned(student))
        return hints

    # -- one update ----------------------------------------------------------------------------------

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Draw a batch of pairs; update the discriminator by eq. (4), then the student by eq. (8)."""
        s, transfer = self.settings, self.transfer
        pairs = self.draw(s.batch)
        noise = [shard(z).to(self.device) for z in torch.randn(2, s.batch, self.student.noise_dim)]
        keep = (shard(torch.rand(s.batch)) >= s.first_dropout).to(self.device)
        with autocast(self.device, s.precision):
            drawn = self._generate(pairs, noise[0], noise[0] if s.pair_noise == "shared" else noise[1], keep)
            alignments = self._alignments(pairs, drawn)
            diversity = semantic_diversity(drawn.x1, drawn.y, s.norm) if transfer.diversity else None
        scalars: dict[str, Tensor] = {}
        fake, c = self._judged(drawn.x1, drawn.y), self.judged_condition(self._judged(drawn.c_x, drawn.c_y))
        if transfer.trains_discriminator:
            scalars["d"] = self._discriminator_step(self._judged(pairs.x1, pairs.y), fake.detach(), c)
        if transfer.adversarial:
            discriminator = self.networks["discriminator"].requires_grad_(False)
            with autocast(self.device, s.precision):
                scalars["adv"] = generator_adversarial_loss(self.student.discriminate(fake, c), s.adversarial)
            discriminator.requires_grad_(True)
        total = full_objective(
            scalars.get("adv"), list(alignments.values()), diversity, (s.lambda_adv, s.lambda_kdl, s.lambda_srl)
        )
        step_optimizers(total, self.optimizers["generator"])
        return scalars | alignments | ({} if diversity is None else {"diversity": diversity})

    def _generate(self, pairs: Pairs, z_x: Tensor, z_y: Tensor, keep: Tensor) -> Drawn:
        """Return the student's images of both sides; `keep` [B] says for which pairs the first feature enters."""
        kept, r = keep[:, None, None, None], self.settings.first_resolution
        firsts = [self.first_feature(f[r]) * kept for f in (pairs.features_x, pairs.features_y)]
        c_x, c_y = self.pseudo_condition(pairs.x1), self.pseudo_condition(pairs.y)
        if self.settings.passes == "separate":
            x1, features_x = self.student.generate(z_x, c_x, firsts[0])
            y, features_y = self.student.generate(z_y, c_y, firsts[1])
            return Drawn(x1, y, features_x, features_y, c_x, c_y)
        images, features = self.student.generate(torch.cat([z_x, z_y]), torch.cat([c_x, c_y]), torch.cat(firsts))
        x1, y = images.chunk(2)
        halves = {r: f.chunk(2) for r, f in features.items()}
        return Drawn(x1, y, {r: f[0] for r, f in halves.items()}, {r: f[1] for r, f in halves.items()}, c_x, c_y)

    def _alignments(self, pairs: Pairs, drawn: Drawn) -> dict[str, Tensor]:
        """Return the two parts of eq. (6), none where the transfer leaves it out."""
        if "generator" not in self.transfer.alignment:
            return {}
        of_x = (*self.matched(pairs.features_x, drawn.features_x), pairs.x1, drawn.x1)
        of_y = (*self.matched(pairs.features_y, drawn.features_y), pairs.y, drawn.y)
        beta = self.settings.image_weight(self.student.resolution)
        features, images = pair_alignment(of_x, of_y, self.alpha, beta, self.settings.norm)
        return {"features": features, "image": images}

    def _judged(self, of_x: Tensor, of_y: Tensor) -> Tensor:
        return torch.cat([of_x, of_y]) if self.settings.judged == "both" else of_y

    def _discriminator_step(self, real: Tensor, fake: Tensor, c: Tensor) -> Tensor:
        s = self.settings
        with autocast(self.device, s.precision):
            if s.discriminator_pairs == "mismatched" and self.transfer.condition == "pseudo":
                loss = mismatched_discriminator_loss(self.student.discriminate, real, fake, c, s.r1_weight)
            else:
                judge = partial(self.student.discriminate, c=c)
                loss = discriminator_adversarial_loss(judge, real, fake, s.r1_weight)
        step_optimizers(loss, self.optimizers["discriminator"])
        return loss

    # -- what the loop asks --------------------------------------------------------------------------

    def ema_decay(self, step: int) -> float:
        """The configured decay, bounded at the start when `ema_warm_up` is on."""
        return self.settings.average_decay(step)

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Columns are pairs; rows: x1, y, the averaged student's with c_x, c_y, and c_y without the first feature."""
        p, z, networks = self.preview_pairs, self.preview_noise, {**self.networks, **self.averages}
        student = self.student.with_networks(networks)
        first = self.first_feature(p.features_x[self.settings.first_resolution], networks)
        c_x, c_y = (self.pseudo_condition(images, networks) for images in (p.x1, p.y))
        rows = [student.generate(z, c, f)[0] for c, f in ((c_x, first), (c_y, first), (c_y, None))]
        return torch.cat([p.x1, p.y, *rows]), self.shown

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""


def _check_batch(encoder: SemanticEncoder, batch: int) -> None:
    """Raise `UserError` when S_E's minibatch statistics cannot be taken over the batch of one process."""
    group, share = encoder.group, batch // world_size()
    if group is not None and share % min(group, share):
        raise UserError(
            f"the teacher's minibatch statistics are over groups of {group}, and a batch of {share} is no multiple: "
            "choose another batch, or minibatch_statistics `mean`"
        )


def _check_fit(student: X2IStudent, teacher: Teacher, settings: X2IDistillSettings, transfer: TransferSettings) -> None:
    """Raise `UserError` when a teacher cannot teach a student, or the settings contradict the method at its size."""
    resolution = teacher.generator.config.img_resolution
    if resolution != student.resolution:
        raise UserError(
            f"the teacher draws images of {resolution} px, but the student needs {student.resolution} px: choose the "
            "teacher of that resolution in the preset"
        )
    if not transfer.mixing:
        raise UserError("stage 1 for text, speech and label maps needs x1 and y to differ, so it has no KD*")
    reason = settings.overshoot(settings.image_weight(resolution))
    if reason is not None and transfer.diversity:
        raise UserError(reason)
