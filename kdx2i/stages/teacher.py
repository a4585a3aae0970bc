"""Stage `teacher`: train a teacher on a dataset, or convert an official weight file."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from kdx2i.config import names_in, read_yaml, validate
from kdx2i.data.images import ImageSet, Split
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, sha256_json, write_bytes, write_json
from kdx2i.provenance import git_commit, packages
from kdx2i.stages.training import discard, fetcher
from kdx2i.teacher.augment import AugmentSettings
from kdx2i.teacher.growing import grow_from
from kdx2i.teacher.importer import import_official
from kdx2i.teacher.stylegan2 import DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.training import TeacherSettings, TeacherTraining
from kdx2i.teacher.weights import load_teacher, save_teacher
from kdx2i.training import distributed
from kdx2i.training.checkpoint import load_tensors, select
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device
from kdx2i.training.loop import LoopSettings, train


class Sizes(BaseModel):
    """Widths of a teacher: min(channel_base / resolution, channel_max) channels at a resolution."""

    model_config = ConfigDict(extra="forbid")

    z_dim: int = Field(default=512, ge=1)
    w_dim: int = Field(default=512, ge=1)
    num_layers: int = Field(default=8, ge=1)
    channel_base: int = Field(default=16384, ge=1)
    channel_max: int = Field(default=512, ge=1)


class Augmentation(BaseModel):
    """See `kdx2i.teacher.augment.AugmentSettings`."""

    model_config = ConfigDict(extra="forbid")

    probability: float = Field(default=0.0, ge=0, le=1)
    target: float | None = None
    speed_kimg: float = Field(default=500.0, gt=0)
    translation: float = Field(default=0.125, ge=0)
    scale: float = Field(default=0.2, ge=0)
    rotation: float = Field(default=0.0, ge=0)
    brightness: float = Field(default=0.0, ge=0)
    contrast: float = Field(default=0.0, ge=0)
    saturation: float = Field(default=0.0, ge=0)


class TeacherConfig(BaseModel):
    """One teacher that the suite trains: `benchmarks/teachers/<name>.yaml`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    dataset: str
    resolution: int = Field(ge=4)
    iterations: int = Field(ge=1)
    batch: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)
    sizes: Sizes = Sizes()
    learning_rate: float = Field(default=2e-3, gt=0)
    r1_gamma: float = Field(default=1.0, ge=0)
    r1_every: int = Field(default=16, ge=1)
    path_length_weight: float = Field(default=0.0, ge=0)
    mixing_probability: float = Field(default=0.9, ge=0, le=1)
    ema_kimg: float = Field(default=10.0, gt=0)
    mirror: bool = True
    noise: Literal["random", "none"] = "random"
    augment: Augmentation = Augmentation()
    grow_from: str | None = Field(default=None, description="a teacher file of lower resolution to start from")
    stored: Literal["float32", "float16"] = "float32"

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


def load_config(root: Path, name: str) -> TeacherConfig:
    """Return a teacher's configuration; an unknown name raises `UserError` with the known ones."""
    folder = root / "benchmarks" / "teachers"
    if name not in names_in(folder):
        raise UserError(f"there is no teacher `{name}`; the teachers are {', '.join(names_in(folder)) or '(none)'}")
    path = folder / f"{name}.yaml"
    config: TeacherConfig = validate(TeacherConfig, read_yaml(path), str(path))
    return config


def train_teacher(root: Path, name: str, iterations: int | None = None) -> Path:
    """Train a teacher and write `<name>.safetensors`, its sample grid and its provenance beside its YAML.

    Resumes an interrupted training. `iterations` replaces the configured number.
    """
    config = load_config(root, name)
    if iterations is not None:
        config = config.model_copy(update={"iterations": iterations})
    make_deterministic()
    distributed.start()
    device = pick_device()
    dataset = root / "data" / config.dataset
    images = ImageSet(Split(dataset), "train", config.resolution)
    training = TeacherTraining(config.settings(), fetcher(images), len(images), config.seed, device)
    if config.grow_from is not None:
        _grow(training, root / config.grow_from)
    # Resume state belongs to one configuration: another one must not go on from it.
    start = sha256_file(root / config.grow_from) if config.grow_from is not None else None
    key = sha256_json([config.model_dump(mode="json", exclude={"iterations"}), start])
    work = root / "results" / ".work" / "teachers" / f"{name}-{key[:16]}"
    loop = LoopSettings(config.iterations, config.seed, checkpoint_every=500, sample_every=500, log_every=50)
    train(training, loop, work, f"teacher {name}")
    place = root / "benchmarks" / "teachers"
    target = place / f"{name}.safetensors"
    if distributed.rank() == 0:
        provenance: dict[str, Any] = {
            "teacher": config.model_dump(mode="json"),
            "images": len(images),
            "images_seen": config.iterations * config.batch,
            "split_sha256": sha256_file(dataset / "split.csv"),
            "device": describe_device(device),
            "packages": packages(),
            "git_commit": git_commit(root),
        }
        average = training.averages["generator"]
        assert isinstance(average, Generator)
        save_teacher(target, average, training.discriminator, provenance, getattr(torch, config.stored))
        write_bytes(place / f"{name}.png", (work / "samples.png").read_bytes())
        write_json(place / f"{name}.provenance.json", {"sha256": sha256_file(target), **provenance})
        discard(work)
    distributed.finish()
    return target


def import_teacher(official: Path, target: Path) -> Path:
    """Convert an official weight file (rosinality `.pt`, NVIDIA `.pkl`) to a teacher file, executing none of it."""
    if target.suffix != ".safetensors":
        raise UserError(f"{target} must end in .safetensors: that is the format of teacher files")
    teacher = import_official(official)
    save_teacher(target, teacher.generator, teacher.discriminator, teacher.provenance)
    return target


def _grow(training: TeacherTraining, path: Path) -> None:
    load_teacher(path)  # A teacher file in full, or a clear refusal, before anything is copied from it.
    tensors = {name: tensor.float() for name, tensor in load_tensors(path)[0].items()}
    grow_from(training.generator, select(tensors, "generator"))
    grow_from(training.averages["generator"], select(tensors, "generator"))
    grow_from(training.discriminator, select(tensors, "discriminator"))
