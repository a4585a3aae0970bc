"""BigGAN: the class-conditional teacher that DeepI2I and TransferI2I start from."""

from kdx2i.teacher.biggan.networks import (
    BOTTOM,
    DISCRIMINATOR_WIDTHS,
    GENERATOR_WIDTHS,
    Discriminator,
    DiscriminatorConfig,
    Features,
    Generator,
    GeneratorConfig,
    standing_statistics,
)

__all__ = [
    "BOTTOM",
    "DISCRIMINATOR_WIDTHS",
    "GENERATOR_WIDTHS",
    "Discriminator",
    "DiscriminatorConfig",
    "Features",
    "Generator",
    "GeneratorConfig",
    "standing_statistics",
]
