"""Training of a class-conditional BigGAN teacher (`train_fns.py` of ajbrock/BigGAN-PyTorch), for small data.

Hinge loss, Adam, exponential moving average of the generator; batches are class-balanced, and both kinds of
image are augmented before the discriminator sees them.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.teacher.augment import Augment, AugmentSettings
from kdx2i.teacher.biggan import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    standing_statistics,
)
from kdx2i.training.determinism import derive_seed
from kdx2i.training.distributed import shard
from kdx2i.training.optimizers import adam, step_optimizers
from kdx2i.training.precision import place
from kdx2i.training.sampling import BalancedImages

ADAM_EPS = 1e-6
STANDING_BATCHES = 16
SHOWN = 32


@dataclass(frozen=True)
class BigGANTeacherSettings:
    """What a BigGAN teacher is trained with; rates, betas and steps are those of `scripts/launch_BigGAN_*`."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    batch: int = 32
    generator_rate: float = 1e-4
    discriminator_rate: float = 4e-4
    beta1: float = 0.0
    beta2: float = 0.999
    discriminator_steps: int = 1
    ema_kimg: float = 10.0
    ema_ramp: float = 0.05
    crop_probability: float = 0.0
    augment: AugmentSettings = field(default_factory=AugmentSettings)


def standing_copy(generator: nn.Module, batch: int) -> Generator:
    """Return a copy of averaged weights with statistics of their own, from fixed draws."""
    copied = cast(Generator, copy.deepcopy(generator))
    torch.manual_seed(0)
    standing_statistics(copied, STANDING_BATCHES, max(batch, SHOWN))
    return copied


class BigGANTraining:
    """The `Trainable` that trains a BigGAN teacher on labelled images."""

    def __init__(
        self, settings: BigGANTeacherSettings, images: BalancedImages, seed: int, device: torch.device
    ) -> None:
        self.settings, self.images, self.device = settings, images, device
        torch.manual_seed(derive_seed(seed, "initialise"))
        self.generator = place(Generator(settings.generator), device)
        self.discriminator = place(Discriminator(settings.discriminator), device)
        self.networks: Mapping[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
        }
        average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.averages: Mapping[str, nn.Module] = {"generator": average}
        rates = {"generator": settings.generator_rate, "discriminator": settings.discriminator_rate}
        betas = (settings.beta1, settings.beta2)
        self.optimizers: Mapping[str, Optimizer] = {
            name: adam(network.parameters(), rates[name], betas, eps=ADAM_EPS)
            for name, network in self.networks.items()
        }
        self.augment = Augment(settings.augment)

    def _fakes(self) -> tuple[Tensor, Tensor]:
        """Return generated images and their classes, drawn uniformly."""
        s = self.settings
        y = shard(self.images.draw_labels(s.batch)).to(self.device)
        z = shard(torch.randn(s.batch, s.generator.noise_dim)).to(self.device)
        return self.generator(z, y), y

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update the discriminator `discriminator_steps` times, then the generator."""
        s = self.settings
        for _ in range(s.discriminator_steps):
            labels = self.images.draw_labels(s.batch)
            reals, y_real = self.images.draw(labels, s.crop_probability), shard(labels).to(self.device)
            with torch.no_grad():
                fakes, y_fake = self._fakes()
            both = self.augment(torch.cat([reals, fakes]))
            logits, _ = self.discriminator(both, torch.cat([y_real, y_fake]))
            real, fake = logits.split([len(reals), len(fakes)])
            d_loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
            step_optimizers(d_loss, self.optimizers["discriminator"])
            self.augment.adapt(float(real.detach().sign().mean()), s.batch)
        fakes, y_fake = self._fakes()
        g_loss = -self.discriminator(self.augment(fakes), y_fake)[0].mean()
        step_optimizers(g_loss, self.optimizers["generator"])
        return {
            "d": d_loss,
            "g": g_loss,
            "real": real.mean(),
            "fake": fake.mean(),
            "p": torch.tensor(self.augment.probability),
        }

    def ema_decay(self, step: int) -> float:
        """Half-life of `ema_kimg` thousand images, shorter at the start (`ema_ramp` of the images seen)."""
        s = self.settings
        half_life = min(s.ema_kimg * 1000, (step + 1) * s.batch * s.ema_ramp)
        return float(0.5 ** (s.batch / max(half_life, 1e-8)))

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """Four images of each of sixteen classes by the averaged generator, classes in columns of half a row."""
        s = self.settings
        generator = standing_copy(self.averages["generator"], s.batch)
        y = torch.linspace(0, s.generator.num_classes - 1, 16).long().repeat(4).to(self.device)
        return generator(torch.randn(len(y), s.generator.noise_dim).to(self.device), y), 16

    def scalars(self) -> dict[str, float]:
        """The augmentation's probability."""
        return {"probability": self.augment.probability}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Take back what `scalars` returned."""
        self.augment.probability = values["probability"]
