"""S2IGAN in training (`steps/trainer.py` of xinshengwang/S2IGAN) and generation: images from utterances."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.encoders.speech.augmentation import crop_and_mirror
from kdx2i.encoders.speech.encoder import SpeechEncoder, load_speech_encoder
from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.embedding_scale import CONDITIONS, EMBEDDINGS, EmbeddingScale, fit_scale
from kdx2i.methods.s2igan.discriminators import Discriminator, RelationSupervisor
from kdx2i.methods.s2igan.images import pyramid
from kdx2i.methods.s2igan.losses import (
    GENERATED,
    SIMILAR,
    Weights,
    discriminator_loss,
    generator_loss,
    relation_loss,
)
from kdx2i.methods.s2igan.networks import Generated, Generator, initialise
from kdx2i.methods.s2igan.settings import Networks, Settings
from kdx2i.methods.translation import averages_of
from kdx2i.tasks.conditions import SpeechCondition
from kdx2i.tasks.paired import PairedImages, RelatedImages
from kdx2i.training.checkpoint import load_module, select
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place
from kdx2i.training.sampling import columns


def build_networks(sizes: Networks, resolution: int, device: torch.device, *, relation: bool) -> dict[str, nn.Module]:
    """Return the networks with the official start, from torch's global generator.

    `generator`, a `discriminator<pixels>` for each stage and, with `relation`, `relation`.
    """
    networks: dict[str, nn.Module] = {"generator": Generator(sizes, resolution)}
    for stage in reversed(range(sizes.stages)):
        side = resolution >> stage
        networks[f"discriminator{side}"] = Discriminator(side, sizes.df_dim, sizes.condition_dim)
    if relation:
        networks["relation"] = RelationSupervisor(sizes.speech_dim)
    for network in networks.values():
        initialise(network)
    return {name: place(network, device) for name, network in networks.items()}


class Method:
    """S2IGAN on the embeddings of a frozen speech encoder.

    `initialise` replaces the networks by those of a distilled student. The conditioning noise is drawn for generation
    too, as in the official code.
    """

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        self.setup, self.settings, self.device = setup, setup.settings, setup.device
        n, t = self.settings.networks, self.settings.train
        if setup.encoders is None:
            raise UserError("s2igan hears by a speech encoder: name that of its dataset in `encoders`")
        self.has_relation = t.lambda_relation > 0 and setup.images is not None
        self.encoder: SpeechEncoder = load_speech_encoder(
            setup.encoders, self.device, images=self.has_relation, image_weights=n.image_weights
        )
        if self.encoder.sizes.embedding != n.speech_dim:
            raise UserError(
                f"{setup.encoders} has embeddings of {self.encoder.sizes.embedding} numbers, "
                f"and `speech_dim` is {n.speech_dim}"
            )
        networks = build_networks(n, setup.resolution, self.device, relation=self.has_relation)
        self.networks: Mapping[str, nn.Module] = {
            **networks,
            EMBEDDINGS: EmbeddingScale(n.speech_dim).to(self.device),
        }
        self.discriminators = [name for name in networks if name.startswith("discriminator")]
        self.averages: Mapping[str, nn.Module] = averages_of(self.networks, ["generator", EMBEDDINGS])
        betas = (t.beta1, t.beta2)
        self.optimizers: Mapping[str, Optimizer] = {
            name: adam(network.parameters(), t.learning_rate, betas) for name, network in networks.items()
        }

        if setup.images is not None and t.embedding_scale == "all":
            self._fit_scale()

    def _fit_scale(self) -> None:
        """Put speech embeddings on the scale of stage 1."""
        conditions = self.images.conditions(CONDITIONS)
        fit_scale(self.networks, self.averages, map(self.encoder.embed_speech, conditions))

    @property
    def images(self) -> PairedImages[SpeechCondition]:
        """The images to train on; `RuntimeError` for a method that only generates."""
        if self.setup.images is None:
            raise RuntimeError("this method was built without images to train on")
        return cast(PairedImages[SpeechCondition], self.setup.images)

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Start from a distilled student, tensors as `<network>.<parameter>`; networks that it lacks keep their start.

        `UserError` for a student without a generator or of other sizes, and for `reset_encoders`.
        """
        if reset_encoders:
            raise UserError("s2igan has no encoder that its student learns, so none can start from scratch")
        where = Path("the distilled student of s2igan")
        if not select(student, "generator"):
            raise UserError(f"{where} holds no generator")
        for name, network in self.networks.items():
            # A student has its discriminators as one network, named by their pixels.
            place_of = name.replace("discriminator", "discriminator.")
            if tensors := select(student, place_of):
                load_module(network, tensors, where)
        self.averages["generator"].load_state_dict(self.networks["generator"].state_dict())
        if self.settings.train.embedding_scale == "students":
            self._fit_scale()

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update the discriminators, the relation supervisor and the generator, in the official order."""
        t = self.settings.train
        if t.average_takes_over_every and step and step % t.average_takes_over_every == 0:
            self._continue_from_average()
        drawn = self.images.draw_related(t.batch, always_other_class=t.wrong_images == "other-class")
        speech = self.networks[EMBEDDINGS](self.encoder.embed_speech(drawn.condition))
        noise, eps = self._draw_noise(t.batch)
        noise, eps = (shard(joint).to(self.device) for joint in (noise, eps))
        real, wrong, similar = self._real_images(drawn)
        weights = Weights(t.lambda_unconditional, t.lambda_relation, t.lambda_kl)
        with autocast(self.device, t.precision):
            made: Generated = self.networks["generator"](noise, speech, eps)
            scalars = {}
            for name, own, other, fake in zip(self.discriminators, real, wrong, made.images, strict=True):
                judge = self.networks[name]
                terms = discriminator_loss(judge, own, other, fake, made.mu, weights.unconditional)
                step_optimizers(terms["total"], self.optimizers[name])
                scalars[name] = terms["total"]
            related = None
            if self.has_relation:
                scalars["relation"], related = self._relation_step(real[-1], similar, made.images[-1], wrong[-1])
            judges = [self.networks[name] for name in self.discriminators]
            terms = generator_loss(judges, made.images, made.mu, made.logvar, weights, related)
            step_optimizers(terms["total"], self.optimizers["generator"])
        return scalars | {f"g_{name}": value for name, value in terms.items() if name != "total"}

    def _relation_step(self, real: Tensor, similar: Tensor, fake: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
        """Update the relation supervisor; return its loss and its logits of (real, fake), for the generator."""
        with torch.no_grad():
            seen = [self.encoder.embed_images(images) for images in (real, similar, wrong)]
        drawn = self.encoder.embed_images(fake)
        label = SIMILAR if self.settings.train.relation_fake == "similar" else GENERATED
        relate = self.networks["relation"]
        loss = relation_loss(relate, seen[0], seen[1], drawn, seen[2], label)
        step_optimizers(loss, self.optimizers["relation"])
        return loss, relate(seen[0], drawn)

    def _real_images(self, drawn: RelatedImages[SpeechCondition]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return the pyramids of the images and the wrong ones, and the similar images, each cropped on its own."""
        side, factor, stages = self.setup.resolution, self.settings.train.enlarge, self.settings.networks.stages
        crops = [crop_and_mirror(pixels, side, factor) for pixels in (drawn.images, drawn.wrong, drawn.similar)]
        real, wrong = (pyramid(pixels, stages, self.device) for pixels in crops[:2])
        return real, wrong, pyramid(crops[2], 1, self.device)[0]

    def _draw_noise(self, batch: int) -> tuple[Tensor, Tensor]:
        """Draw z [B, Z] and the conditioning noise [B, C] from torch's global generator."""
        n = self.settings.networks
        return torch.randn(batch, n.noise_dim), torch.randn(batch, n.condition_dim)

    @torch.no_grad()
    def _continue_from_average(self) -> None:
        """Give the generator its averaged parameters, as the official code does when it saves."""
        average = dict(self.averages["generator"].named_parameters())
        for name, parameter in self.networks["generator"].named_parameters():
            parameter.copy_(average[name])

    def ema_decay(self, step: int) -> float:
        """Return the decay of the generator's average after a step; buffers are those of the network."""
        return self.settings.train.average_decay(step)

    @torch.no_grad()
    def generate(self, condition: SpeechCondition) -> Tensor:
        """Return images [B, 3, R, R] of the averaged generator for B utterances; noise is from torch's generator.

        `UserError` for speech that the encoder cannot hear (another rate, less than 0.15 s).
        """
        speech = self.averages[EMBEDDINGS](self.encoder.embed_speech(condition))
        noise, eps = (part.to(self.device) for part in self._draw_noise(len(speech)))
        made: Generated = self.averages["generator"](noise, speech, eps)
        return made.images[-1].clamp(-1, 1)

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Up to eight training images, and two rows of images made of their utterances."""
        torch.manual_seed(0)
        images, condition = self.images.draw(columns(self.settings.train.batch))
        return torch.cat([images, *(self.generate(condition) for _ in range(2))]), len(images)

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""
