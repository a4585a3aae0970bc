"""The forms of teacher that `kdx2i teacher` trains: what their YAML files say, and how each is built and stored."""

from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field

from kdx2i.data.images import ImageSet, Split
from kdx2i.stages.training import fetcher
from kdx2i.teacher import biggan
from kdx2i.teacher.augment import AugmentSettings
from kdx2i.teacher.biggan_training import BigGANSettings, BigGANTraining, standing_copy
from kdx2i.teacher.biggan_weights import save_biggan
from kdx2i.teacher.stylegan2 import DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.training import TeacherSettings, TeacherTraining
from kdx2i.teacher.weights import save_teacher
from kdx2i.training.sampling import BalancedImages


class Part(BaseModel):
    """A part of a teacher's YAML: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class Sizes(Part):
    """Widths of a StyleGAN2: min(channel_base / resolution, channel_max) channels at a resolution."""

    z_dim: int = Field(default=512, ge=1)
    w_dim: int = Field(default=512, ge=1)
    num_layers: int = Field(default=8, ge=1)
    channel_base: int = Field(default=16384, ge=1)
    channel_max: int = Field(default=512, ge=1)


class BigGANSizes(Part):
    """Sizes of a BigGAN; see `kdx2i.teacher.biggan.GeneratorConfig`."""

    width: int = Field(default=96, ge=1)
    z_dim: int = Field(default=120, ge=1)
    shared_dim: int = Field(default=128, ge=1)
    attention: int = Field(default=64, ge=0)
    table: Literal["official", "truncated"] = Field(default="official", description="protocol entry biggan-32px")


class Augmentation(Part):
    """See `kdx2i.teacher.augment.AugmentSettings`."""

    probability: float = Field(default=0.0, ge=0, le=1)
    target: float | None = None
    speed_kimg: float = Field(default=500.0, gt=0)
    translation: float = Field(default=0.125, ge=0)
    scale: float = Field(default=0.2, ge=0)
    rotation: float = Field(default=0.0, ge=0)
    brightness: float = Field(default=0.0, ge=0)
    contrast: float = Field(default=0.0, ge=0)
    saturation: float = Field(default=0.0, ge=0)


class CommonConfig(Part):
    """What every teacher that the suite trains has: `benchmarks/teachers/<name>.yaml`."""

    name: str
    title: str
    dataset: str
    resolution: int = Field(ge=4)
    iterations: int = Field(ge=1)
    batch: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)
    ema_kimg: float = Field(default=10.0, gt=0)
    augment: Augmentation = Augmentation()
    grow_from: str | None = Field(default=None, description="a teacher file of lower resolution to start from")
    stored: Literal["float32", "float16"] = "float32"

    @property
    def dtype(self) -> torch.dtype:
        """The type of number in which the weights are stored."""
        return cast(torch.dtype, getattr(torch, self.stored))


class TeacherConfig(CommonConfig):
    """A StyleGAN2 teacher."""

    sizes: Sizes = Sizes()
    learning_rate: float = Field(default=2e-3, gt=0)
    r1_gamma: float = Field(default=1.0, ge=0)
    r1_every: int = Field(default=16, ge=1)
    path_length_weight: float = Field(default=0.0, ge=0)
    mixing_probability: float = Field(default=0.9, ge=0, le=1)
    mirror: bool = True
    noise: Literal["random", "none"] = "random"

    def settings(self) -> TeacherSettings:
        """Return the settings of the training."""
        s = self.sizes
        generator = GeneratorConfig(
            self.resolution,
            z_dim=s.z_dim,
            w_dim=s.w_dim,
            num_layers=s.num_layers,
            channel_base=s.channel_base,
            channel_max=s.channel_max,
        )
        discriminator = DiscriminatorConfig(self.resolution, channel_base=s.channel_base, channel_max=s.channel_max)
        return TeacherSettings(
            generator,
            discriminator,
            batch=self.batch,
            learning_rate=self.learning_rate,
            r1_gamma=self.r1_gamma,
            r1_every=self.r1_every,
            path_length_weight=self.path_length_weight,
            mixing_probability=self.mixing_probability,
            ema_kimg=self.ema_kimg,
            mirror=self.mirror,
            noise=self.noise,
            augment=AugmentSettings(**self.augment.model_dump()),
        )

    def build(self, split: Split, images: ImageSet, device: torch.device) -> TeacherTraining:
        """Return the training on the images."""
        return TeacherTraining(self.settings(), fetcher(images), len(images), self.seed, device)

    def save(self, target: Path, training: TeacherTraining, provenance: dict[str, Any]) -> None:
        """Write the averaged generator and the discriminator."""
        average = cast(Generator, training.averages["generator"])
        save_teacher(target, average, training.discriminator, provenance, self.dtype)


class BigGANTeacherConfig(CommonConfig):
    """A class-conditional BigGAN teacher; its classes are those of its dataset, in their order."""

    form: Literal["biggan"]
    grow_from: None = None
    sizes: BigGANSizes = BigGANSizes()
    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(default=4e-4, gt=0)
    discriminator_steps: int = Field(default=1, ge=1)

    def settings(self, num_classes: int) -> BigGANSettings:
        """Return the settings of the training."""
        s = self.sizes
        shared: dict[str, Any] = {
            "resolution": self.resolution,
            "width": s.width,
            "num_classes": num_classes,
            "attention": s.attention,
            "table": s.table,
        }
        return BigGANSettings(
            biggan.GeneratorConfig(**shared, z_dim=s.z_dim, shared_dim=s.shared_dim),
            biggan.DiscriminatorConfig(**shared),
            batch=self.batch,
            generator_rate=self.generator_rate,
            discriminator_rate=self.discriminator_rate,
            discriminator_steps=self.discriminator_steps,
            ema_kimg=self.ema_kimg,
            augment=AugmentSettings(**self.augment.model_dump()),
        )

    def build(self, split: Split, images: ImageSet, device: torch.device) -> BigGANTraining:
        """Return the training on the images and their classes."""
        classes = len(split.classes)
        sampler = BalancedImages(fetcher(images), images.labels, classes, device)
        return BigGANTraining(self.settings(classes), sampler, self.seed, device)

    def save(self, target: Path, training: BigGANTraining, provenance: dict[str, Any]) -> None:
        """Write the averaged generator, with statistics of its own, and the discriminator."""
        average = standing_copy(training.averages["generator"], self.batch)
        save_biggan(target, average, training.discriminator, provenance, self.dtype)


FORMS: dict[str, type[BigGANTeacherConfig]] = {"biggan": BigGANTeacherConfig}
"""By the key `form`; a file without it is a StyleGAN2."""
