"""Sizes of StyleGAN2's networks, and what follows from them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from kdx2i.errors import UserError

Architecture = Literal["orig", "skip", "resnet"]
NoiseMode = Literal["random", "const", "none"]
Noise = NoiseMode | Sequence[Tensor]


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes and options of a generator; the defaults are NVIDIA's.

    `widths` (at 4 px, 8 px, ...) replaces the rule min(channel_base / resolution, channel_max).
    """

    img_resolution: int
    z_dim: int = 512
    c_dim: int = 0
    w_dim: int = 512
    img_channels: int = 3
    num_layers: int = 8
    embed_features: int | None = None
    layer_features: int | None = None
    lr_multiplier: float = 0.01
    w_avg_beta: float = 0.995
    channel_base: int = 32768
    channel_max: int = 512
    widths: Sequence[int] | None = None
    architecture: Architecture = "skip"
    conv_clamp: float | None = None
    equalized_demodulation: bool = False


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes and options of a discriminator; the defaults are NVIDIA's (`widths` as in the generator)."""

    img_resolution: int
    c_dim: int = 0
    img_channels: int = 3
    channel_base: int = 32768
    channel_max: int = 512
    widths: Sequence[int] | None = None
    architecture: Architecture = "resnet"
    conv_clamp: float | None = None
    cmap_dim: int | None = None
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    mbstd_group_size: int | None = 4
    mbstd_num_channels: int = 1


def resolutions(img_resolution: int) -> list[int]:
    """Return 4, 8, ... up to the image resolution, which must be a power of two of at least 4."""
    exponent = int(math.log2(img_resolution)) if img_resolution > 0 else 0
    if img_resolution < 4 or 2**exponent != img_resolution:
        raise UserError(f"StyleGAN2 needs a resolution that is a power of two of at least 4, not {img_resolution}")
    return [2**i for i in range(2, exponent + 1)]


def channel_widths(config: GeneratorConfig | DiscriminatorConfig) -> dict[int, int]:
    """Return the number of channels at each resolution."""
    sides = resolutions(config.img_resolution)
    if config.widths is not None:
        return dict(zip(sides, config.widths, strict=True))
    return {r: min(config.channel_base // r, config.channel_max) for r in sides}


def config_dict(config: GeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """Return a configuration as a JSON object."""
    return asdict(config)


def layout(config: GeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """Return what decides the function of a network: its configuration with the widths spelled out."""
    named = {k: v for k, v in asdict(config).items() if k not in ("channel_base", "channel_max", "w_avg_beta")}
    return named | {"widths": list(channel_widths(config).values())}
