"""The generator of StyleGAN2: mapping network and synthesis network with style mixing."""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from kdx2i.teacher.layers import (
    EqualizedConv2d,
    EqualizedLinear,
    bias_act,
    fir_kernel,
    modulated_conv2d,
    upsample2d,
)
from kdx2i.teacher.stylegan2.sizes import (
    GeneratorConfig,
    Noise,
    NoiseMode,
    channel_widths,
    resolutions,
)


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """Scale each row of [B, D] to unit mean square ("PixelNorm")."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class MappingNetwork(nn.Module):
    """z [B, z_dim] (and c [B, c_dim]) -> w [B, w_dim]; keeps the running mean of w for truncation."""

    w_avg: Tensor

    def __init__(
        self,
        *,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_layers: int,
        lr_multiplier: float,
        w_avg_beta: float | None,
        embed_features: int | None = None,
        layer_features: int | None = None,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_layers = z_dim, c_dim, w_dim, num_layers
        self.w_avg_beta = w_avg_beta
        embed = (embed_features or w_dim) if c_dim > 0 else 0
        if c_dim > 0:
            self.embed = EqualizedLinear(c_dim, embed)
        hidden = layer_features or w_dim
        widths = [z_dim + embed] + [hidden] * (num_layers - 1) + [w_dim]
        for i in range(num_layers):
            layer = EqualizedLinear(widths[i], widths[i + 1], activation="lrelu", lr_multiplier=lr_multiplier)
            self.add_module(f"fc{i}", layer)
        if w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, c: Tensor | None = None, *, update_mean: bool = False) -> Tensor:
        """Map to w; `update_mean` moves the running mean towards the batch's mean."""
        parts = []
        dtype = next(self.parameters()).dtype
        if self.z_dim > 0:
            if z is None:
                raise ValueError("the mapping network needs z")
            parts.append(normalize_2nd_moment(z.to(dtype)))
        if self.c_dim > 0:
            if c is None:
                raise ValueError("the mapping network needs the condition c")
            parts.append(normalize_2nd_moment(self.embed(c.to(dtype))))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = cast(Tensor, getattr(self, f"fc{i}")(x))
        if update_mean and self.w_avg_beta is not None:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        return x

    def truncate(self, w: Tensor, psi: float) -> Tensor:
        """Pull w towards its running mean: mean + psi (w - mean)."""
        return self.w_avg.lerp(w, psi)


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU; optionally up-sampling by two."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, resolution: int, config: GeneratorConfig, up: bool) -> None:
        super().__init__()
        self.up, self.resolution, self.conv_clamp = up, resolution, config.conv_clamp
        self.weight_gain = 1.0 / math.sqrt(in_channels * 9) if config.equalized_demodulation else 1.0
        self.affine = EqualizedLinear(config.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", fir_kernel())

    def forward(self, x: Tensor, w: Tensor, noise: NoiseMode | Tensor, gain: float = 1.0) -> Tensor:
        """x [B, I, H, W], w [B, w_dim] -> [B, O, H', W']; noise is a map [1 or B, 1, H', W'] or a mode."""
        x = modulated_conv2d(
            x,
            self.weight,
            self.affine(w),
            demodulate=True,
            kernel=self.resample_filter if self.up else None,
            weight_gain=self.weight_gain,
        )
        if isinstance(noise, Tensor):
            x = x + (noise * self.noise_strength).to(x.dtype)
        elif noise == "random":
            drawn = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
            x = x + (drawn * self.noise_strength).to(x.dtype)
        elif noise == "const":
            x = x + (self.noise_const * self.noise_strength).to(x.dtype)
        return bias_act(x, self.bias, activation="lrelu", gain=gain, clamp=self.conv_clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to image channels, without demodulation."""

    def __init__(self, in_channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.conv_clamp = config.conv_clamp
        self.affine = EqualizedLinear(config.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(config.img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.img_channels))
        self.weight_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [B, C, H, W], w [B, w_dim] -> [B, img_channels, H, W]."""
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False)
        return bias_act(x, self.bias, activation="linear", clamp=self.conv_clamp)


class SynthesisBlock(nn.Module):
    """All layers of one resolution."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, resolution: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.resolution, self.architecture = resolution, config.architecture
        self.is_last = resolution == config.img_resolution
        self.register_buffer("resample_filter", fir_kernel())
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(out_channels, 4, 4))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, resolution, config, up=True)
        self.conv1 = SynthesisLayer(out_channels, out_channels, resolution, config, up=False)
        if self.is_last or self.architecture == "skip":
            self.torgb = ToRGB(out_channels, config)
        if resolution > 4 and self.architecture == "resnet":
            self.skip = EqualizedConv2d(in_channels, out_channels, 1, bias=False, up=True)
        self.num_conv = 1 if resolution == 4 else 2

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        ws: Tensor,
        noise: NoiseMode | Sequence[Tensor],
        addition: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """ws [B, num_conv + 1, w_dim]; returns the feature that ToRGB reads and the running image.

        `addition` is added to the feature before ToRGB reads it.
        """
        maps = [noise] * self.num_conv if isinstance(noise, str) else list(noise)
        if x is None:
            x = self.const[None].expand(ws.shape[0], -1, -1, -1)
            x = self.conv1(x, ws[:, 0], maps[0])
        elif self.architecture == "resnet":
            short = self.skip(x, gain=math.sqrt(0.5))
            x = self.conv0(x, ws[:, 0], maps[0])
            x = short + self.conv1(x, ws[:, 1], maps[1], gain=math.sqrt(0.5))
        else:
            x = self.conv1(self.conv0(x, ws[:, 0], maps[0]), ws[:, 1], maps[1])
        if addition is not None:
            x = x + addition
        if image is not None:
            image = upsample2d(image, self.resample_filter)
        if self.is_last or self.architecture == "skip":
            rgb = self.torgb(x, ws[:, self.num_conv])
            image = rgb if image is None else image + rgb
        return x, image


class SynthesisNetwork(nn.Module):
    """ws [B, num_ws, w_dim] -> image [B, C, R, R], about [-1, 1], not clamped."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.resolutions = resolutions(config.img_resolution)
        before = 0
        for r, width in channel_widths(config).items():
            self.add_module(f"b{r}", SynthesisBlock(before, width, r, config))
            before = width
        self.num_ws = 2 * len(self.resolutions)

    def forward(
        self, ws: Tensor, noise: Noise = "const", additions: Mapping[int, Tensor] | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the image and the feature of each resolution, the input of that resolution's ToRGB.

        `noise` is a mode or one map a convolution (2 log2(R) - 3 of them). Block r takes the styles from
        index 0 (r = 4) or 2 log2(r) - 5, so its last style is also the next block's first. `additions`, by
        resolution, are added to the features of their blocks.
        """
        added = additions or {}
        x: Tensor | None = None
        image: Tensor | None = None
        features: dict[int, Tensor] = {}
        index = 0
        for r in self.resolutions:
            block = cast(SynthesisBlock, getattr(self, f"b{r}"))
            maps = noise if isinstance(noise, str) else noise[index : index + block.num_conv]
            x, image = block(x, image, ws[:, index : index + block.num_conv + 1], maps, added.get(r))
            features[r] = x
            index += block.num_conv
        return cast(Tensor, image), features


class Generator(nn.Module):
    """Mapping and synthesis network."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.synthesis = SynthesisNetwork(config)
        self.num_ws, self.z_dim, self.w_dim = self.synthesis.num_ws, config.z_dim, config.w_dim
        self.mapping = MappingNetwork(
            z_dim=config.z_dim,
            c_dim=config.c_dim,
            w_dim=config.w_dim,
            num_layers=config.num_layers,
            lr_multiplier=config.lr_multiplier,
            w_avg_beta=config.w_avg_beta,
            embed_features=config.embed_features,
            layer_features=config.layer_features,
        )

    def styles(self, z: Tensor, c: Tensor | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """z [B, z_dim] -> ws [B, num_ws, w_dim], the same style for every layer."""
        w = self.mapping(z, c)
        if truncation_psi != 1.0:
            w = self.mapping.truncate(w, truncation_psi)
        return cast(Tensor, w[:, None].expand(-1, self.num_ws, -1))

    def forward(self, z: Tensor, c: Tensor | None = None, noise: Noise = "random") -> Tensor:
        """z [B, z_dim] -> image [B, C, R, R]."""
        return cast(Tensor, self.synthesis(self.styles(z, c), noise)[0])

    def noise_shapes(self) -> list[int]:
        """Return the side of each noise map, in the order that `synthesis` takes them."""
        return [r for r in self.synthesis.resolutions for _ in range(1 if r == 4 else 2)]
