"""What DeepI2I* and TransferI2I* of Appendix B.3 share: StarGAN v2's training on networks made from a teacher."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.adapted.networks import (
    Beginning,
    Blocks,
    BranchedDiscriminator,
    Decoder,
    ImageEncoder,
    MappingNetworks,
)
from kdx2i.methods.families.adapted.settings import AdaptedSettings
from kdx2i.methods.families.stargan.losses import Networks
from kdx2i.methods.families.stargan.method import StarGANTranslation
from kdx2i.methods.families.stylegan.backbone import stylegan2_configs
from kdx2i.methods.families.stylegan.networks import StyleEncoder, part_of, without_last_layer
from kdx2i.methods.translation import averages_of
from kdx2i.teacher.stylegan2 import Discriminator, channel_widths, resolutions
from kdx2i.teacher.stylegan2.weights import read_fitting_teacher
from kdx2i.training.precision import place

NEW = ("blocks", "style_encoder")
"""What holds layers that no teacher has: what the first phase of DeepI2I's recipe trains beside the discriminator."""
LEARNING = ("blocks", "decoder", "mapping_network", "style_encoder")
"""What the translation trains beside the discriminator, and averages."""

AdaptedSettingsT = TypeVar("AdaptedSettingsT", bound=AdaptedSettings)


class AdaptedTranslation(StarGANTranslation[AdaptedSettingsT]):
    """A method on networks made from a StyleGAN2 teacher; the image encoder stays as it starts.

    With `plain_gan` there is also the generator's part before the bottleneck, `beginning`, so that the plain GAN can
    be run. A subclass has `training_step`.
    """

    generator_parts = ("blocks", "decoder")
    fixed_encoder = True
    plain_gan: bool = False

    def __init__(self, setup: MethodSetup[AdaptedSettingsT]) -> None:
        super().__init__(setup)
        n, t, resolution = self.settings.networks, self.settings.train, setup.resolution
        if n.bottleneck not in resolutions(resolution)[:-1]:
            raise UserError(
                f"networks.bottleneck must be a power of two from 4 to {resolution // 2}, not {n.bottleneck}"
            )
        self.noise_dim, self.averages_start = n.z_dim, t.first_iterations
        self.generator_config, self.discriminator_config = stylegan2_configs(n, resolution)
        g, d = self.generator_config, self.discriminator_config
        built: dict[str, nn.Module] = {
            "encoder": ImageEncoder(d, n.bottleneck).requires_grad_(False),
            "blocks": Blocks(channel_widths(g)[n.bottleneck], n.w_dim, n.blocks),
            "decoder": Decoder(g, n.bottleneck, n.noise),
            "mapping_network": MappingNetworks(g, setup.num_classes),
            "style_encoder": StyleEncoder(
                without_last_layer(Discriminator(replace(d, mbstd_group_size=1))), n.w_dim, setup.num_classes
            ),
            "discriminator": BranchedDiscriminator(d, setup.num_classes),
        }
        if self.plain_gan:
            built["beginning"] = Beginning(g, n.bottleneck, n.noise)
        self.networks = {name: place(module, self.device) for name, module in built.items()}
        # The encoder is frozen: it is its own average.
        self.averages = averages_of(self.networks, LEARNING) | {"encoder": self.networks["encoder"]}
        rates = {name: t.learning_rate for name in built if name != "encoder"}
        own_rates = {
            "blocks": t.block_learning_rate,
            "mapping_network": t.mapping_learning_rate,
            "discriminator": t.discriminator_learning_rate,
        }
        self.optimizers = self.adams(rates | own_rates)

    def start_from_teacher(self, path: Path) -> None:
        """Copy a teacher's networks; the new blocks keep their random start."""
        teacher = read_fitting_teacher(path, self.generator_config, self.discriminator_config)
        generator, discriminator = teacher.generator.state_dict(), teacher.discriminator.state_dict()
        bottleneck = self.settings.networks.bottleneck
        net: Any = self.networks
        net["encoder"].load_state_dict(part_of(discriminator, net["encoder"]))
        net["decoder"].load_state_dict(net["decoder"].teacher_part(generator, bottleneck))
        for mapping in net["mapping_network"].classes:
            mapping.load_state_dict({k: generator[f"mapping.{k}"] for k in mapping.state_dict()})
        net["style_encoder"].take_over(discriminator, teacher.generator.mapping.w_avg)
        net["discriminator"].take_over(discriminator)
        if "beginning" in net:
            net["beginning"].load_state_dict({k: generator[f"synthesis.{k}"] for k in net["beginning"].state_dict()})
        self.copy_to_averages()

    def callables(self, networks: Mapping[str, nn.Module]) -> Networks:
        """Return the functions that the objective uses: content is the encoder's output."""
        blocks, decoder = networks["blocks"], networks["decoder"]
        return Networks(
            encode=networks["encoder"],
            decode=lambda content, w: cast(Tensor, decoder(blocks(content, w), w)),
            mapping=networks["mapping_network"],
            style=networks["style_encoder"],
            discriminator=networks["discriminator"],
        )
