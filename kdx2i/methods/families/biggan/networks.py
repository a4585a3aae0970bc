"""The networks of translation with a BigGAN: encoder, adaptor, generator, discriminator, and their start.

The encoder is a copy of the discriminator. Its features at several resolutions go through the adaptor and are
added, weighted, to the generator's activations of the same resolution (`DeepI2I_BigGAN/BigGAN.py` of
yaxingwang/DeepI2I).
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.methods.families.biggan.settings import BigGANNetworks
from kdx2i.teacher import biggan
from kdx2i.teacher.biggan.layers import SN_EPS, ClassEmbedding, DiscriminatorBlock, Linear
from kdx2i.teacher.biggan.weights import load_biggan
from kdx2i.training.checkpoint import load_module
from kdx2i.training.precision import place

TRANSLATING = ("encoder", "adaptor", "generator")
"""The networks that a translation uses."""


def shared_resolutions(
    generator: biggan.GeneratorConfig, discriminator: biggan.DiscriminatorConfig, largest: int
) -> tuple[int, ...]:
    """Return the resolutions up to `largest` px at which both networks have features, descending.

    Officially 32, 16, 8 and 4 of 128 px images (protocol entry deepi2i-resolutions).
    """
    generated = {biggan.BOTTOM << i for i in range(len(generator.widths))}
    return tuple(sorted((r for r in generated & set(discriminator.sides) if r <= largest), reverse=True))


class Adaptor(nn.Module):
    """One residual block for each resolution, from the encoder's to the generator's channels (`Alignment`).

    `resolutions` descend. `linear` and `embed` do nothing: they are in the official checkpoints. Weights keep
    PyTorch's own start, as in the official transfer setting, which skips the orthogonal one.
    """

    def __init__(
        self,
        generator: biggan.GeneratorConfig,
        discriminator: biggan.DiscriminatorConfig,
        resolutions: Iterable[int],
        eps: float = SN_EPS,
    ) -> None:
        super().__init__()
        self.resolutions = tuple(resolutions)
        # Two blocks may end at one resolution: the last one's feature is the one that is kept.
        encoded = dict(zip(discriminator.sides, discriminator.widths, strict=True))
        generated = {biggan.BOTTOM << i: width for i, width in enumerate(generator.widths)}
        self.blocks = nn.ModuleList(
            nn.Sequential(
                DiscriminatorBlock(
                    encoded[r], generated[r], hidden=generated[r] if discriminator.wide else encoded[r], eps=eps
                )
            )
            for r in self.resolutions
        )
        self.linear = Linear(discriminator.widths[-1], 1, eps=eps)
        self.embed = ClassEmbedding(discriminator.num_classes, discriminator.widths[-1], eps=eps)

    def forward(self, features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Features of the encoder -> features [B, C, r, r] with the generator's channels."""
        return {r: block(features[r]) for r, block in zip(self.resolutions, self.blocks, strict=True)}


def weighted(features: Mapping[int, Tensor], weights: Mapping[int, float]) -> dict[int, Tensor]:
    """Return each feature [B, C, r, r] times the weight of its resolution r: what the generator's activations gain."""
    return {r: feature * weights[r] for r, feature in features.items()}


def build_networks(
    sizes: BigGANNetworks, resolution: int, num_classes: int, device: torch.device
) -> dict[str, nn.Module]:
    """Return `encoder`, `adaptor`, `generator` and `discriminator`, drawn from torch's global generator.

    Raises `UserError` when the teacher has fewer classes than the dataset, or no such network exists.
    """
    if num_classes > sizes.teacher_classes:
        raise UserError(
            f"the dataset has {num_classes} classes, the teacher {sizes.teacher_classes}: take a teacher with as many, "
            "or a dataset with fewer"
        )
    try:
        g = biggan.GeneratorConfig(
            resolution,
            sizes.width,
            sizes.teacher_classes,
            z_dim=sizes.z_dim,
            shared_dim=sizes.shared_dim,
            attention=sizes.attention,
            table=sizes.table,
        )
        d = biggan.DiscriminatorConfig(resolution, sizes.width, sizes.teacher_classes, sizes.attention, sizes.table)
        resolutions = shared_resolutions(g, d, sizes.largest_feature)
    except ValueError as error:
        raise UserError(f"{error}; see networks.table") from None
    if missing := sorted(set(resolutions) - set(sizes.added)):
        raise UserError(f"networks.added has no weight for the features at {missing[0]} px")
    built: dict[str, nn.Module] = {
        "encoder": biggan.Discriminator(d),
        "adaptor": Adaptor(g, d, resolutions),
        "generator": biggan.Generator(g),
        "discriminator": biggan.Discriminator(d),
    }
    return {name: place(network, device) for name, network in built.items()}


@torch.no_grad()
def copy_teacher(networks: Mapping[str, nn.Module], path: Path, class_start: str) -> None:
    """Copy a BigGAN teacher: its generator, its discriminator and, as encoder, its discriminator again.

    A file made from a whole model of DeepI2I also gives its own encoder and adaptor. Class i starts as the
    teacher's class i (`index`) or as the mean of all (`mean`). `UserError` names what does not fit.
    """
    teacher = load_biggan(path)
    sources: dict[str, biggan.Generator | biggan.Discriminator] = {
        "generator": teacher.generator,
        "discriminator": teacher.discriminator,
        "encoder": teacher.discriminator,
    }
    for name, source in sources.items():
        own = cast(biggan.Generator | biggan.Discriminator, networks[name])
        for field in fields(source.config):
            of_teacher, of_run = (getattr(config, field.name) for config in (source.config, own.config))
            if of_teacher != of_run:
                key = "teacher_classes" if field.name == "num_classes" else field.name
                raise UserError(
                    f"{path} is a teacher with {key} {of_teacher}, but this run's is {of_run}: set networks.{key}"
                )
    for name, source in sources.items():
        networks[name].load_state_dict(source.state_dict())
    for name, state in teacher.more.items():
        load_module(networks[name], state, path)
    if class_start == "mean":
        for table in (
            cast(biggan.Generator, networks["generator"]).shared.weight,
            cast(biggan.Discriminator, networks["discriminator"]).embed.weight,
        ):
            table.copy_(table.mean(dim=0, keepdim=True).expand_as(table))
