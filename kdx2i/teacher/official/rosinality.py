"""Checkpoints of rosinality/stylegan2-pytorch: their key names and shapes (its `model.py`).

The networks are those of `kdx2i.teacher.stylegan2` under other names; tensors are only renamed and reshaped.
"""

import math
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.teacher.stylegan2 import DiscriminatorConfig, GeneratorConfig
from kdx2i.teacher.stylegan2.layers import fir_kernel

FIXED_WIDTH = 512
"""Channels at 4 to 32 px, whatever the multiplier."""

_DISCRIMINATOR_LAYERS = {
    "conv0.weight": "conv1.0.weight",
    "conv0.bias": "conv1.1.bias",
    "conv1.weight": "conv2.1.weight",
    "conv1.bias": "conv2.2.bias",
    "conv1.resample_filter": "conv2.0.kernel",
    "skip.weight": "skip.1.weight",
    "skip.resample_filter": "skip.0.kernel",
}
_DISCRIMINATOR_ENDS = {
    "conv.weight": "final_conv.0.weight",
    "conv.bias": "final_conv.1.bias",
    "fc.weight": "final_linear.0.weight",
    "fc.bias": "final_linear.0.bias",
    "out.weight": "final_linear.1.weight",
    "out.bias": "final_linear.1.bias",
}


def widths(size: int, channel_multiplier: int) -> list[int]:
    """Return the channels at 4, 8, ... size px: 512 up to 32 px, then 16384 m / resolution."""
    sides = [2**i for i in range(2, int(math.log2(size)) + 1)]
    return [FIXED_WIDTH if r <= 32 else 16384 * channel_multiplier // r for r in sides]


def generator_config(
    size: int, style_dim: int, n_mlp: int, channels: Iterable[int], lr_mlp: float = 0.01
) -> GeneratorConfig:
    """Return the configuration of rosinality's Generator with the given channels at 4, 8, ... size px."""
    return GeneratorConfig(
        img_resolution=size,
        z_dim=style_dim,
        w_dim=style_dim,
        num_layers=n_mlp,
        lr_multiplier=lr_mlp,
        widths=tuple(channels),
        equalized_demodulation=True,
    )


def discriminator_config(size: int, channels: Iterable[int]) -> DiscriminatorConfig:
    """Return the configuration of rosinality's Discriminator: groups of four, one deviation channel."""
    return DiscriminatorConfig(img_resolution=size, widths=tuple(channels), mbstd_group_size=4, mbstd_num_channels=1)


def generator_key(name: str) -> str | None:
    """Return the official key of a tensor of our generator; None if the official one does not store it."""
    if match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
        return f"style.{int(match[1]) + 1}.{match[2]}"
    if name == "synthesis.b4.const":
        return "input.input"
    match = re.fullmatch(r"synthesis\.b(\d+)\.(?:(conv0|conv1|torgb)\.)?(.+)", name)
    if match is None:
        return None
    level, layer, part = int(math.log2(int(match[1]))), match[2], match[3]
    if part == "resample_filter":
        if layer is None and level > 2:
            return f"to_rgbs.{level - 3}.upsample.kernel"
        return f"convs.{2 * level - 6}.conv.blur.kernel" if layer == "conv0" else None
    if part == "noise_const":
        return f"noises.noise_{0 if level == 2 else 2 * level - 5 + int(layer[-1])}"
    if layer == "torgb":
        place = "to_rgb1" if level == 2 else f"to_rgbs.{level - 3}"
        parts = {"bias": "bias"}
    else:
        place = "conv1" if level == 2 else f"convs.{2 * level - 6 + int(layer[-1])}"
        parts = {"bias": "activate.bias", "noise_strength": "noise.weight"}
    parts |= {"weight": "conv.weight"}
    parts |= {f"affine.{kind}": f"conv.modulation.{kind}" for kind in ("weight", "bias")}
    return f"{place}.{parts[part]}"


def discriminator_key(name: str, img_resolution: int) -> str | None:
    """Return the official key of a tensor of our discriminator; None if the official one does not store it."""
    block, _, part = name.partition(".")
    resolution = int(block[1:])
    if resolution == 4:
        return _DISCRIMINATOR_ENDS.get(part)
    if part in ("fromrgb.weight", "fromrgb.bias"):
        return "convs.0.0.weight" if part.endswith("weight") else "convs.0.1.bias"
    index = int(math.log2(img_resolution // resolution)) + 1
    return f"convs.{index}.{_DISCRIMINATOR_LAYERS[part]}" if part in _DISCRIMINATOR_LAYERS else None


def official_key(name: str, img_resolution: int) -> str | None:
    """Return the official key of a tensor of our generator or discriminator."""
    if name.startswith(("mapping.", "synthesis.")):
        return generator_key(name)
    return discriminator_key(name, img_resolution)


def official_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that the official checkpoint gives to our tensor `name`."""
    if not name.startswith("synthesis."):
        return shape
    if name.endswith("noise_const"):
        return (1, 1, *shape)
    if name.endswith("torgb.bias"):
        return (1, *shape, 1, 1)
    if name.endswith((".const", ".noise_strength")) or re.search(r"(conv\d|torgb)\.weight$", name):
        return (1, *shape)
    return shape


def official_state(module: nn.Module, img_resolution: int) -> dict[str, tuple[int, ...]]:
    """Return keys and shapes of the official state dict of the network that `module` stands for."""
    pairs = ((official_key(name, img_resolution), name, tensor) for name, tensor in module.state_dict().items())
    return {key: official_shape(name, tuple(tensor.shape)) for key, name, tensor in pairs if key is not None}


def from_official(
    module: nn.Module, state: Mapping[str, Tensor], img_resolution: int, where: object
) -> dict[str, Tensor]:
    """Rename and reshape an official state dict for `module` (which may be on the meta device).

    The running mean of w, which is no part of it, becomes zero; noise maps that an old file lacks are drawn
    with a fixed seed. A missing or misshapen tensor or another FIR kernel raises `UserError` naming `where`.
    """
    result: dict[str, Tensor] = {}
    random = torch.Generator().manual_seed(0)
    for name, own in module.state_dict().items():
        key, shape = official_key(name, img_resolution), tuple(own.shape)
        if name.endswith("resample_filter"):
            _check_kernel(state.get(key or ""), name, where)
            result[name] = fir_kernel()
        elif key is None:
            result[name] = torch.zeros(shape)
        elif key not in state and name.endswith("noise_const"):
            result[name] = torch.randn(shape, generator=random)
        elif key not in state:
            raise UserError(f"{where} is not a whole rosinality StyleGAN2 checkpoint: {key} is missing")
        elif tuple(state[key].shape) != official_shape(name, shape):
            raise UserError(f"{where} does not fit StyleGAN2: {key} has the shape {tuple(state[key].shape)}")
        else:
            result[name] = state[key].float().reshape(shape)
    return result


def _check_kernel(kernel: Tensor | None, name: str, where: object) -> None:
    """Refuse a FIR kernel that is not the standard one (times 4 where it enlarges)."""
    gain = 4.0 if name.startswith("synthesis.") else 1.0
    if kernel is not None and (
        kernel.shape != (4, 4) or not torch.allclose(kernel.float(), fir_kernel() * gain, atol=1e-6)
    ):
        raise UserError(f"{where} uses a resampling kernel other than (1, 3, 3, 1), which is not supported")


def _levels(state: Mapping[str, object], pattern: str) -> int:
    """Return one more than the largest number that the pattern finds in a key (0: none)."""
    numbers = [int(m[1]) for key in state if (m := re.match(pattern, key))]
    return max(numbers, default=-1) + 1


def infer_generator(shapes: Mapping[str, tuple[int, ...]], where: object) -> GeneratorConfig:
    """Return the configuration that the shapes of an official generator's state dict imply."""
    levels = _levels(shapes, r"to_rgbs\.(\d+)\.conv\.weight$")
    depth = _levels(shapes, r"style\.(\d+)\.weight$") - 1
    if levels > 8:
        raise UserError(f"{where} does not hold a rosinality StyleGAN2 generator")
    needed = ["input.input", "style.1.weight", *(f"convs.{2 * i + 1}.conv.weight" for i in range(levels))]
    if depth < 1 or any(key not in shapes or len(shapes[key]) < 2 for key in needed):
        raise UserError(f"{where} does not hold a rosinality StyleGAN2 generator")
    channels = [shapes["input.input"][1], *(shapes[f"convs.{2 * i + 1}.conv.weight"][1] for i in range(levels))]
    return generator_config(2 ** (levels + 2), shapes["style.1.weight"][1], depth, channels)


def infer_discriminator(shapes: Mapping[str, tuple[int, ...]], where: object) -> DiscriminatorConfig:
    """Return the configuration that the shapes of an official discriminator's state dict imply."""
    levels = _levels(shapes, r"convs\.(\d+)\.conv1\.0\.weight$") - 1
    if levels < 0 or levels > 8:
        raise UserError(f"{where} does not hold a rosinality StyleGAN2 discriminator")
    needed = ["convs.0.0.weight", *(f"convs.{i}.conv2.1.weight" for i in range(1, levels + 1))]
    if any(key not in shapes or not shapes[key] for key in needed):
        raise UserError(f"{where} does not hold a rosinality StyleGAN2 discriminator")
    return discriminator_config(2 ** (levels + 2), [shapes[key][0] for key in reversed(needed)])
