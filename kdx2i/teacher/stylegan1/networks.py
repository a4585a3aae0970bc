"""StyleGAN-1 as DeepI2I uses it (`DeepI2I_StyleGAN/model.py` of yaxingwang/DeepI2I), with the official state keys.

Networks always have the layers up to `max_resolution` (1024 px officially) and run at `resolution`: official
checkpoints hold the unused ones too. The interface is that of `kdx2i.teacher.stylegan2`: `mapping`, `synthesis`
and `num_ws` of the generator, `features`, `semantic` and `examine` of the discriminator.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.teacher.stylegan1.layers import SLOPE, ConvBlock, EqualConv2d, EqualLinear, StyledConvBlock

FUSED_FROM = 128
"""From this resolution on, resampling and convolution are one kernel (with `fused`)."""


@dataclass(frozen=True)
class StyleGAN1Config:
    """Sizes of both networks; the defaults are DeepI2I's. `widths` are those at 4, 8, ... `max_resolution` px."""

    resolution: int = 256
    code_dim: int = 512
    n_mlp: int = 8
    widths: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64, 32, 16)
    fused: bool = True
    from_rgb_activate: bool = True

    @property
    def step(self) -> int:
        """The index of the block that makes the image: log2(resolution) - 2."""
        return int(math.log2(self.resolution)) - 2

    def __post_init__(self) -> None:
        if self.resolution < 4 or self.resolution != 4 * 2**self.step or self.step >= len(self.widths):
            largest = 4 * 2 ** (len(self.widths) - 1)
            raise UserError(f"this StyleGAN-1 makes images of 4, 8, ... {largest} px, not of {self.resolution} px")


class _Blocks(nn.Module):
    """The synthesis network (official keys `generator.*`)."""

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__()
        widths = config.widths
        blocks = [StyledConvBlock(widths[0], widths[0], config.code_dim, initial=True, fused=False)]
        for i in range(1, len(widths)):
            fused = config.fused and 4 * 2**i >= FUSED_FROM
            blocks.append(StyledConvBlock(widths[i - 1], widths[i], config.code_dim, initial=False, fused=fused))
        self.progression = nn.ModuleList(blocks)
        self.to_rgb = nn.ModuleList([EqualConv2d(width, 3, 1) for width in widths])


class Generator(nn.Module):
    """z [B, code_dim] -> image [B, 3, R, R], unbounded, about [-1, 1]; class `StyledGenerator` officially."""

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__()
        self.config, self.num_ws, self.z_dim, self.w_dim = config, config.step + 1, config.code_dim, config.code_dim
        self.generator = _Blocks(config)
        layers: list[nn.Module] = [nn.Identity()]  # PixelNorm officially: it fixes the numbers of the keys.
        for _ in range(config.n_mlp):
            layers += [EqualLinear(config.code_dim, config.code_dim), nn.LeakyReLU(SLOPE)]
        self.style = nn.Sequential(*layers)

    def mapping(self, z: Tensor) -> Tensor:
        """z [B, code_dim] -> w [B, code_dim]."""
        w: Tensor = self.style(z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8))
        return w

    def synthesis(
        self,
        ws: Tensor,
        noise: Literal["random", "none"] | Sequence[Tensor] = "random",
        additions: Mapping[int, Tensor] | None = None,
        *,
        alpha: float = 1.0,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the image and the features by resolution, before anything is added to them.

        ws [B, step + 1, code_dim] has one style a resolution; `noise` one map [B, 1, r, r] a resolution, fresh
        maps or none (no noise is the strength 0). `additions` are added to the features of their resolutions.
        `alpha` below 1 fades the last block in, as in progressive growing.
        """
        x: Tensor | None = None
        before: Tensor | None = None
        features: dict[int, Tensor] = {}
        for i in range(self.config.step + 1):
            side = 4 * 2**i
            if noise == "random":
                drawn: Tensor | None = torch.randn(len(ws), 1, side, side, device=ws.device)
            else:
                drawn = None if isinstance(noise, str) else noise[i]
            before = x
            x = cast(Tensor, self.generator.progression[i](x, ws[:, i], drawn))
            features[side] = x
            if additions is not None and side in additions:
                x = x + additions[side]
        image = cast(Tensor, self.generator.to_rgb[self.config.step](x))
        if alpha < 1.0 and before is not None:
            coarse = self.generator.to_rgb[self.config.step - 1](before)
            image = alpha * image + (1 - alpha) * F.interpolate(coarse, scale_factor=2, mode="nearest")
        return image, features

    def forward(self, z: Tensor) -> Tensor:
        """z [B, code_dim] -> image with fresh noise."""
        return self.synthesis(self.mapping(z)[:, None].expand(-1, self.num_ws, -1))[0]


class Discriminator(nn.Module):
    """Image [B, 3, R, R] -> logits [B, 1], with the feature of every block; DeepI2I's encoder has the same layout.

    `separate` computes the standard deviation channel for each image alone, so that no output depends on the
    rest of the batch (a style encoder needs that); the official network takes it over the whole batch.
    """

    def __init__(self, config: StyleGAN1Config, *, separate: bool = False) -> None:
        super().__init__()
        self.config, self.separate = config, separate
        widths = config.widths[::-1]
        self.semantic_dim = widths[-1]
        blocks, sides = [], [4 * 2**i for i in range(len(widths))][::-1]
        for i in range(len(widths) - 1):
            fused = config.fused and sides[i] >= FUSED_FROM
            blocks.append(ConvBlock(widths[i], widths[i + 1], downsample=True, fused=fused))
        blocks.append(ConvBlock(widths[-1] + 1, widths[-1], last=True))
        self.progression = nn.ModuleList(blocks)
        self.from_rgb = nn.ModuleList([self._from_rgb(width) for width in widths])
        self.linear = EqualLinear(widths[-1], 1)

    def _from_rgb(self, width: int) -> nn.Module:
        conv = EqualConv2d(3, width, 1)
        return nn.Sequential(conv, nn.LeakyReLU(SLOPE)) if self.config.from_rgb_activate else conv

    def features(self, image: Tensor) -> dict[int, Tensor]:
        """Image [B, 3, R, R] -> the features by their own resolution.

        That of R px is from-RGB's output, as in `kdx2i.teacher.stylegan2`; those of R/2 ... 4 px are the outputs of
        the blocks, which alone are in the official dictionary.
        """
        return self._run(image)[1]

    def _run(self, image: Tensor, alpha: float = 1.0) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the input [B, C, 4, 4] of the last block, and from-RGB's output and those of the blocks before it."""
        start = len(self.progression) - 1 - self.config.step
        x: Tensor = self.from_rgb[start](image)
        features: dict[int, Tensor] = {x.shape[2]: x}
        for index in range(start, len(self.progression) - 1):
            x = self.progression[index](x)
            features[x.shape[2]] = x
            if index == start and alpha < 1.0:
                x = alpha * x + (1 - alpha) * self.from_rgb[index + 1](F.avg_pool2d(image, 2))
        return x, features

    def _head(self, x: Tensor) -> Tensor:
        """4x4 feature -> [B, C], the input of the last linear layer."""
        if self.separate:
            deviation = x.new_full((len(x), 1, 4, 4), 1e-4)
        else:
            deviation = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean().expand(len(x), 1, 4, 4)
        y: Tensor = self.progression[-1](torch.cat([x, deviation.to(x.dtype)], dim=1))
        return y.flatten(1)

    def semantic(self, image: Tensor) -> Tensor:
        """Image [B, 3, R, R] -> the vector [B, C] before the last linear layer."""
        return self._head(self._run(image)[0])

    def examine(self, image: Tensor, *, alpha: float = 1.0) -> tuple[Tensor, dict[int, Tensor]]:
        """Image [B, 3, R, R] -> the logits [B, 1] and the features by resolution."""
        x, features = self._run(image, alpha)
        return self.linear(self._head(x)), features

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, 3, R, R] -> the logits [B, 1]."""
        return self.examine(image)[0]


@torch.no_grad()
def mean_style(config: StyleGAN1Config, generator: Mapping[str, Tensor], samples: int = 4096) -> Tensor:
    """Estimate the mean of w [code_dim] of a generator's state dict from fixed random z, as `generate.py` does."""
    mapping = Generator(config)
    mapping.load_state_dict(dict(generator))
    z = torch.randn(samples, config.code_dim, generator=torch.Generator().manual_seed(0))
    return torch.cat([mapping.mapping(part) for part in torch.split(z, 512)]).mean(dim=0)
