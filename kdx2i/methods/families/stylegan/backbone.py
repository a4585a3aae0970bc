"""The networks of a StyleGAN backbone, built to settings and read from a teacher's file."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.methods.families.stylegan.networks import Adaptor, State, StyleEncoder, without_last_layer
from kdx2i.methods.families.stylegan.settings import StyleGANNetworks, StyleGANSizes
from kdx2i.teacher import stylegan1, stylegan2
from kdx2i.teacher.official.stylegan1_files import read_stylegan1
from kdx2i.teacher.stylegan2.weights import read_fitting_teacher


def stylegan2_configs(
    sizes: StyleGANSizes, resolution: int
) -> tuple[stylegan2.GeneratorConfig, stylegan2.DiscriminatorConfig]:
    """Return the configurations of a StyleGAN2 teacher of these sizes."""
    base, largest = sizes.channel_base, sizes.channel_max
    generator = stylegan2.GeneratorConfig(
        resolution,
        z_dim=sizes.z_dim,
        w_dim=sizes.w_dim,
        num_layers=sizes.mapping_layers,
        channel_base=base,
        channel_max=largest,
        equalized_demodulation=sizes.equalized_demodulation,
        conv_clamp=sizes.conv_clamp,
    )
    discriminator = stylegan2.DiscriminatorConfig(
        resolution, channel_base=base, channel_max=largest, conv_clamp=sizes.conv_clamp
    )
    return generator, discriminator


class Backbone:
    """Builds the networks of one kind and size, and reads teachers of that kind."""

    def __init__(self, sizes: StyleGANNetworks, resolution: int) -> None:
        self.sizes, self.resolution = sizes, resolution
        n = sizes
        up_to = stylegan2.resolutions(max(n.max_resolution, resolution))
        widths = tuple(max(1, min(n.channel_base // r, n.channel_max)) for r in up_to)
        self.stylegan1_config = stylegan1.StyleGAN1Config(resolution, n.w_dim, n.mapping_layers, widths)
        self.generator_config, self.discriminator_config = stylegan2_configs(sizes, resolution)
        if n.backbone == "stylegan1" and n.z_dim != n.w_dim:
            raise UserError(f"networks: StyleGAN-1 has one size for z and w, not z_dim {n.z_dim} and w_dim {n.w_dim}")

    def generator(self) -> nn.Module:
        """Return a generator (`StyleGenerator`)."""
        if self.sizes.backbone == "stylegan1":
            return stylegan1.Generator(self.stylegan1_config)
        return stylegan2.Generator(self.generator_config)

    def discriminator(self, *, separate: bool = False) -> nn.Module:
        """Return a discriminator (`FeatureDiscriminator`); `separate` ones do not mix the images of a batch."""
        if self.sizes.backbone == "stylegan1":
            return stylegan1.Discriminator(self.stylegan1_config, separate=separate)
        config = self.discriminator_config
        return stylegan2.Discriminator(replace(config, mbstd_group_size=1) if separate else config)

    def adaptor(self) -> Adaptor:
        """Return an adaptor for the resolutions of `addition_weights`."""
        n = self.sizes
        known = [r for r in stylegan2.resolutions(self.resolution) if r < self.resolution]
        for r in n.addition_weights:
            if r not in known:
                raise UserError(f"networks.addition_weights names {r} px: the encoder has features at {known} px")
        return Adaptor({r: min(n.channel_base // r, n.channel_max) for r in n.addition_weights})

    def style_encoder(self) -> StyleEncoder:
        """Return a style encoder on a discriminator's layers, without its last linear layer."""
        return StyleEncoder(without_last_layer(self.discriminator(separate=True)), self.sizes.w_dim)

    def read_teacher(self, path: Path) -> tuple[State, State, Tensor]:
        """Return the states of generator and discriminator and the mean style [w_dim] of a teacher's file.

        StyleGAN2: a file of `kdx2i teacher`; StyleGAN-1: an official checkpoint, read as tensors only.
        """
        if self.sizes.backbone == "stylegan1":
            states = read_stylegan1(path, self.stylegan1_config)
            return (
                states["generator"],
                states["discriminator"],
                stylegan1.mean_style(self.stylegan1_config, states["generator"]),
            )
        teacher = read_fitting_teacher(path, self.generator_config, self.discriminator_config)
        return (
            teacher.generator.state_dict(),
            teacher.discriminator.state_dict(),
            teacher.generator.mapping.w_avg,
        )
