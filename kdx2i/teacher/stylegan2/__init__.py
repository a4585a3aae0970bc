"""StyleGAN2: mapping network, synthesis network with style mixing, and discriminator.

One implementation for both official code bases: parameter names are those of NVlabs/stylegan2-ada-pytorch
(`training/networks.py`); `equalized_demodulation` selects the one numerical difference of
rosinality/stylegan2-pytorch (`model.py`), whose checkpoints `kdx2i.teacher.official.stylegan2_files` renames.
"""

from kdx2i.teacher.stylegan2.discriminator import (
    Discriminator,
    DiscriminatorBlock,
)
from kdx2i.teacher.stylegan2.generator import (
    Generator,
    MappingNetwork,
    SynthesisBlock,
    ToRGB,
)
from kdx2i.teacher.stylegan2.sizes import (
    DiscriminatorConfig,
    GeneratorConfig,
    NoiseMode,
    channel_widths,
    config_dict,
    layout,
    resolutions,
)

__all__ = [
    "Discriminator",
    "DiscriminatorBlock",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "MappingNetwork",
    "NoiseMode",
    "SynthesisBlock",
    "ToRGB",
    "channel_widths",
    "config_dict",
    "layout",
    "resolutions",
]
