"""Stage `teacher`: a dataset's training images -> a teacher; and official weight files -> teacher files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from kdx2i.data.images import ImageSet, Split
from kdx2i.errors import UserError
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import TeacherSpec
from kdx2i.provenance import git_commit, packages, split_sha256, write_provenance
from kdx2i.stages.training_outputs import discard, loop_settings, publish_records
from kdx2i.teacher import biggan
from kdx2i.teacher.augment import AugmentSettings
from kdx2i.teacher.biggan.training import BigGANTeacherSettings, BigGANTraining, standing_copy
from kdx2i.teacher.biggan.weights import save_biggan
from kdx2i.teacher.official.biggan_files import import_biggan
from kdx2i.teacher.official.stylegan2_files import import_official
from kdx2i.teacher.recipes import BigGANRecipe, StyleGAN2Recipe, read_recipe
from kdx2i.teacher.stylegan2 import DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.stylegan2.growing import grow_from
from kdx2i.teacher.stylegan2.training import TeacherSettings, TeacherTraining
from kdx2i.teacher.stylegan2.weights import load_teacher, save_teacher
from kdx2i.training import distributed
from kdx2i.training.checkpoint import load_tensors, select
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device
from kdx2i.training.loop import train
from kdx2i.training.sampling import BalancedImages


def run(plan: Plan, leaf: Leaf[TeacherSpec]) -> None:
    """Train the teacher of `leaf`, resuming what an interrupted job left."""
    recipe = read_recipe(dict(leaf.spec.config), f"teacher {leaf.spec.teacher}")
    make_deterministic()
    distributed.start()
    device = pick_device()
    split = Split(leaf.inputs["split"].folder)
    images = ImageSet(split, "train", recipe.resolution)
    training = build_training(recipe, split, images, device)
    start = _start_file(plan, leaf, recipe)
    if start is not None:
        _grow(training, start)
    loop = loop_settings(plan, recipe.iterations, recipe.seed, sample_every=500, log_every=50)
    train(training, loop, leaf.work, f"teacher {recipe.name}")
    if distributed.rank() == 0:
        origin = {
            "teacher": recipe.as_json(),
            "images": len(images),
            "images_seen": recipe.iterations * recipe.batch,
            "split_sha256": split_sha256(leaf.inputs["split"]),
            "device": describe_device(device),
            "packages": packages(),
            "git_commit": git_commit(plan.root),
        }
        save_training(recipe, training, leaf.file("teacher.safetensors"), origin)
        publish_records(leaf)
        write_provenance(plan, leaf, device=describe_device(device), extra={"training": origin})
        discard(leaf.work)
    distributed.finish()


def _start_file(plan: Plan, leaf: Leaf[TeacherSpec], recipe: StyleGAN2Recipe | BigGANRecipe) -> Path | None:
    """Return the file of the teacher of lower resolution that a training starts from."""
    if recipe.grow_from is None:
        return None
    smaller = leaf.inputs.get("teacher")
    return plan.root / recipe.grow_from if smaller is None else smaller.file("teacher.safetensors")


def build_training(
    recipe: StyleGAN2Recipe | BigGANRecipe, split: Split, images: ImageSet, device: torch.device
) -> TeacherTraining | BigGANTraining:
    """Return the training of a recipe on the images of a split; a BigGAN's classes are the split's, in their order."""
    if isinstance(recipe, StyleGAN2Recipe):
        return TeacherTraining(stylegan2_settings(recipe), images.fetch, len(images), recipe.seed, device)
    classes = len(split.classes)
    sampler = BalancedImages(images.fetch, images.labels, classes, device)
    return BigGANTraining(biggan_settings(recipe, classes), sampler, recipe.seed, device)


def stylegan2_settings(recipe: StyleGAN2Recipe) -> TeacherSettings:
    """Return the settings of a StyleGAN2's training."""
    sizes = recipe.sizes
    widths: dict[str, Any] = {"channel_base": sizes.channel_base, "channel_max": sizes.channel_max}
    generator = GeneratorConfig(
        recipe.resolution, z_dim=sizes.z_dim, w_dim=sizes.w_dim, num_layers=sizes.num_layers, **widths
    )
    return TeacherSettings(
        generator,
        DiscriminatorConfig(recipe.resolution, **widths),
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        r1_gamma=recipe.r1_gamma,
        r1_every=recipe.r1_every,
        path_length_weight=recipe.path_length_weight,
        mixing_probability=recipe.mixing_probability,
        ema_kimg=recipe.ema_kimg,
        mirror=recipe.mirror,
        noise=recipe.noise,
        augment=AugmentSettings(**recipe.augment.model_dump()),
    )


def biggan_settings(recipe: BigGANRecipe, num_classes: int) -> BigGANTeacherSettings:
    """Return the settings of a BigGAN's training."""
    sizes = recipe.sizes
    shared: dict[str, Any] = {
        "resolution": recipe.resolution,
        "width": sizes.width,
        "num_classes": num_classes,
        "attention": sizes.attention,
        "table": sizes.table,
    }
    return BigGANTeacherSettings(
        biggan.GeneratorConfig(**shared, z_dim=sizes.z_dim, shared_dim=sizes.shared_dim),
        biggan.DiscriminatorConfig(**shared),
        batch=recipe.batch,
        generator_rate=recipe.generator_rate,
        discriminator_rate=recipe.discriminator_rate,
        discriminator_steps=recipe.discriminator_steps,
        ema_kimg=recipe.ema_kimg,
        augment=AugmentSettings(**recipe.augment.model_dump()),
    )


def save_training(
    recipe: StyleGAN2Recipe | BigGANRecipe,
    training: TeacherTraining | BigGANTraining,
    target: Path,
    origin: Mapping[str, Any],
) -> None:
    """Write the averaged generator (a BigGAN's with statistics of its own) and the discriminator."""
    dtype: torch.dtype = getattr(torch, recipe.stored)
    average, discriminator = training.averages["generator"], training.discriminator
    if isinstance(training, BigGANTraining):
        save_biggan(target, standing_copy(average, recipe.batch), training.discriminator, dict(origin), dtype)
    else:
        save_teacher(target, cast(Generator, average), cast(Any, discriminator), dict(origin), dtype)


def import_teacher(official: Sequence[Path], target: Path) -> Path:
    """Convert official weights to a teacher file, executing none of their code.

    One file is a StyleGAN2 (rosinality `.pt`, NVIDIA `.pkl`); several are the networks of a BigGAN, one a file.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"{target} must end in .safetensors: that is the format of teacher files")
    if len(official) > 1:
        big = import_biggan(official)
        save_biggan(target, big.generator, big.discriminator, big.provenance, more=big.more)
    else:
        teacher = import_official(official[0])
        save_teacher(target, teacher.generator, teacher.discriminator, teacher.provenance)
    return target


def _grow(training: TeacherTraining | BigGANTraining, path: Path) -> None:
    load_teacher(path)  # A teacher file in full, or a clear refusal, before anything is copied from it.
    tensors = {name: tensor.float() for name, tensor in load_tensors(path)[0].items()}
    grow_from(training.generator, select(tensors, "generator"))
    grow_from(training.averages["generator"], select(tensors, "generator"))
    grow_from(training.discriminator, select(tensors, "discriminator"))
