"""SEAN in stage 2 (`trainers/pix2pix_trainer.py`, `models/pix2pix_model.py` of ZPdesu/SEAN), and its images."""

from collections.abc import Mapping
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.label_maps.objectives import Weights, discriminator_loss, generator_loss
from kdx2i.methods.families.label_maps.perceptual import PerceptualLoss, build_perceptual
from kdx2i.methods.sean.build import build_memory, build_networks
from kdx2i.methods.sean.discriminator import Discriminator
from kdx2i.methods.sean.networks import Generator, one_hot
from kdx2i.methods.sean.settings import Settings
from kdx2i.methods.sean.styles import StyleMemory
from kdx2i.methods.translation import averages_of
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.tasks.label_map import coloured
from kdx2i.tasks.paired import PairedImages
from kdx2i.training import distributed
from kdx2i.training.checkpoint import select
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import autocast, place, to_images
from kdx2i.training.sampling import columns

GENERATING = ("generator", "styles")


class Method:
    """SEAN: the generator with its style encoder, the discriminator, and the memory of training styles.

    It is trained to reconstruct: the style image is the image itself. The official code keeps no averages, and neither
    do the default settings: `ema_decay` is 0, so that they equal the networks. Images are made in evaluation mode, of
    the running statistics; the noise of the layers is drawn for them, too. With several processes the statistics and
    the memory are those of the first one's share.
    """

    def __init__(self, setup: MethodSetup[Settings]) -> None:
        self.setup, self.settings, self.device = setup, setup.settings, setup.device
        n, t = self.settings.networks, self.settings.train
        generator, discriminator = build_networks(n, setup.resolution, self.device)
        memory = build_memory(n, self.device)
        self.networks: Mapping[str, nn.Module] = {
            "generator": generator,
            "discriminator": discriminator,
            "styles": memory,
        }
        self.averages: Mapping[str, nn.Module] = averages_of(self.networks, GENERATING)
        betas = (t.beta1, t.beta2)
        self.optimizers: Mapping[str, Optimizer] = {
            "generator": adam(generator.parameters(), t.generator_rate, betas),
            "discriminator": adam(discriminator.parameters(), t.discriminator_rate, betas),
        }

    @property
    def images(self) -> PairedImages[LabelMapCondition]:
        """The images to train on; `RuntimeError` for a method that only generates."""
        if self.setup.images is None:
            raise RuntimeError("this method was built without images to train on")
        images: PairedImages[LabelMapCondition] = self.setup.images
        return images

    @cached_property
    def perceptual(self) -> PerceptualLoss:
        """The perceptual loss; `UserError` where its weights are missing."""
        t = self.settings.train
        return place(build_perceptual(t, self.device), self.device)

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Start from a distilled student, of whose style layers one was trained (protocol entry sean-student-styles).

        With `reset_encoders` the style encoder keeps its random start. A student without discriminator (no adversarial
        loss in stage 1) leaves that network as it is. `UserError` for the student of another network.
        """
        for name in ("generator", "discriminator"):
            state = select(student, name)
            if not state and name == "generator":
                raise UserError("the distilled student has no generator: it is not a student of sean")
            if not state:
                continue
            if reset_encoders and name == "generator":
                own = {k: v for k, v in self.networks[name].state_dict().items() if k.startswith("Zencoder.")}
                state = {**state, **own}
            try:
                self.networks[name].load_state_dict(state)
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"the distilled {name} does not fit this run's {name}: {reason}") from None
        if self.settings.networks.student_styles == "replicated":
            cast(Generator, self.networks["generator"]).replicate_styles()
        for name, average in self.averages.items():
            average.load_state_dict(self.networks[name].state_dict())

    def one_hot(self, maps: Tensor, labels: tuple[str, ...]) -> Tensor:
        """Return label maps uint8 [B, R, R] as one-hot [B, K, R, R] on the device; `UserError` for other labels."""
        count = self.settings.networks.label_nc
        if len(labels) != count:
            raise UserError(f"sean is set to {count} labels (`label_nc`), and the label maps have {len(labels)}")
        return one_hot(maps.to(self.device), count)

    def _draw(self, batch: int) -> tuple[Tensor, Tensor]:
        """Draw this process's share of training images [B, 3, R, R], and one-hot maps [B, K, R, R], mirrored alike."""
        images, condition = self.images.draw(batch)
        mirror = distributed.shard(torch.rand(batch) < self.settings.train.flip).to(self.device)[:, None, None, None]
        maps = self.one_hot(condition.maps, condition.labels)
        # Left and right labels keep their names, as in the official loader.
        return torch.where(mirror, images.flip(3), images), torch.where(mirror, maps.flip(3), maps)

    def _fake(self, maps: Tensor, codes: Tensor, noise: Tensor) -> Tensor:
        generator = cast(Generator, self.networks["generator"])
        fake: Tensor = generator(maps, codes, noise=generator.noise_from(noise))
        return fake

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update generator with style encoder, then the discriminator on a fake of the updated ones, as official."""
        t = self.settings.train
        generator = cast(Generator, self.networks["generator"])
        discriminator = cast(Discriminator, self.networks["discriminator"])
        real, maps = self._draw(t.batch)
        noises = [distributed.shard(torch.randn(t.batch, generator.noise_dim)).to(self.device) for _ in range(2)]
        self._set_rates(step)
        with autocast(self.device, t.precision):
            codes, present = generator.Zencoder.encode(real, maps)
            terms = generator_loss(
                discriminator,
                maps,
                self._fake(maps, codes, noises[0]),
                real,
                weights=Weights(t.lambda_feat, t.lambda_vgg),
                perceptual=self.perceptual if t.lambda_vgg else None,
            )
            step_optimizers(terms["total"], self.optimizers["generator"])
            scalars = {f"g_{name}": value for name, value in terms.items() if name != "total"}
            cast(StyleMemory, self.networks["styles"]).update(codes.detach(), present)
            with torch.no_grad():
                fake = self._fake(maps, generator.Zencoder(real, maps), noises[1])
            terms = discriminator_loss(discriminator, maps, fake, real)
            step_optimizers(terms["total"], self.optimizers["discriminator"])
        return scalars | {f"d_{name}": value for name, value in terms.items() if name != "total"}

    def _set_rates(self, step: int) -> None:
        """Let both rates fall linearly to zero in the last `decay_iterations`."""
        t = self.settings.train
        left = (t.iterations - step) / t.decay_iterations if t.decay_iterations else 1.0
        for name, rate in (("generator", t.generator_rate), ("discriminator", t.discriminator_rate)):
            for group in self.optimizers[name].param_groups:
                group["lr"] = rate * min(1.0, left)

    def ema_decay(self, step: int) -> float:
        """Return the configured decay of the averages, bounded at the start when `ema_warm_up` is on."""
        return self.settings.train.average_decay(step)

    def codes(self, condition: LabelMapCondition, maps: Tensor) -> Tensor:
        """Return the style codes [B, K, S] for a condition whose one-hot maps are [B, K, R, R], of the averages.

        With references they are those of their regions: by their own maps, or by the maps of the images to make
        (protocol entry sean-reference-map); labels that a reference has not are protocol entry sean-absent-regions.
        Without, protocol entry sean-codes-without-reference.
        """
        n, batch = self.settings.networks, len(maps)
        memory = cast(StyleMemory, self.averages["styles"])
        if condition.references is None:
            if n.codes_without_reference == "training-image":
                return memory.draw(batch)
            means = memory.means.expand(batch, -1, -1)
            return means if n.codes_without_reference == "training-means" else torch.zeros_like(means)
        regions = maps
        if n.reference_map == "own":
            if condition.reference_maps is None:
                raise UserError("sean needs the label maps of its references, or the setting `reference_map: target`")
            regions = self.one_hot(condition.reference_maps, condition.labels)
        encoder = cast(Generator, self.averages["generator"]).Zencoder
        codes, present = encoder.encode(condition.references.to(self.device), regions)
        return memory.filled(codes, present) if n.absent_regions == "training-means" else codes

    @torch.no_grad()
    def generate(self, condition: LabelMapCondition) -> Tensor:
        """Return images [B, 3, R, R] in [-1, 1] of the averaged networks; noise is from torch's global generator.

        `UserError` for maps of other labels, and for references without their maps where those are needed.
        """
        maps = self.one_hot(condition.maps, condition.labels)
        generator = cast(Generator, self.averages["generator"])
        noise = torch.randn(len(maps), generator.noise_dim).to(self.device)
        image: Tensor = generator(maps, self.codes(condition, maps), noise=generator.noise_from(noise))
        return image.clamp(-1, 1)

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Up to eight training images, their maps, images of the maps alone, and with the first row as references."""
        torch.manual_seed(0)
        # Each process gets its share of a draw, and only one draws a preview.
        count = columns(self.settings.train.batch)
        images, condition = self.images.draw(count * distributed.world_size())
        maps, labels = condition.maps, condition.labels
        by_mode = (LabelMapCondition(maps, labels), LabelMapCondition(maps, labels, images, maps))
        shown = [images, to_images(coloured(maps.cpu()), self.device), *(self.generate(given) for given in by_mode)]
        return torch.cat(shown), count

    def scalars(self) -> dict[str, float]:
        """Nothing beside tensors: rates follow from the step."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Nothing to take back."""
