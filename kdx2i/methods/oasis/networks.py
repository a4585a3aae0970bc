"""The networks of OASIS (`models/{generator,discriminator}.py` of boschresearch/OASIS), with official tensor names."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.methods.families.label_maps.blocks import (
    HIDDEN,
    SLOPE,
    NormKind,
    SpatialNormKind,
    SpatialResBlock,
    add_first,
    spectral,
)
from kdx2i.methods.families.label_maps.maps import spread_condition
from kdx2i.methods.shared_layers import spread

BLOCKS = 6
"""Residual blocks of either network: the official widths fit no other number."""
DISCRIMINATOR_WIDTHS = (3, 128, 128, 256, 256, 512, 512)
SMALLEST_SIDE = 2**BLOCKS
"""Sides of an image are multiples of this."""


class Generator(nn.Module):
    """`OASIS_Generator`: residual blocks that noise and map modulate together; each is doubled but the last one.

    The noise is the same at each pixel and stands before the map's channels. Without it (`no_3dnoise`) the network is
    deterministic.
    """

    def __init__(
        self,
        channels_G: int,
        semantic_nc: int,
        z_dim: int,
        crop_size: int,
        aspect_ratio: float = 1.0,
        num_res_blocks: int = BLOCKS,
        no_3dnoise: bool = False,
        spade_ks: int = 3,
        param_free_norm: NormKind = "syncbatch",
        no_spectral_norm: bool = False,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        if num_res_blocks != BLOCKS:
            raise ValueError(f"the widths of the generator are for {BLOCKS} blocks, not for {num_res_blocks}")
        width = crop_size // 2 ** (num_res_blocks - 1)
        self.side = (round(width / aspect_ratio), width)
        self.crop = (round(crop_size / aspect_ratio), crop_size)
        self.z_dim, self.noisy = z_dim, not no_3dnoise
        widths = [channels_G * factor for factor in (16, 16, 16, 8, 4, 2, 1)]
        inputs = semantic_nc + (z_dim if self.noisy else 0)
        kind = SpatialNormKind(not no_spectral_norm, param_free_norm, spade_ks)
        self.conv_img = nn.Conv2d(widths[-1], 3, 3, padding=1)
        self.fc = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.body = nn.ModuleList(
            SpatialResBlock(a, b, inputs, kind, hidden=hidden, inner="first_norm") for a, b in pairwise(widths)
        )

    def synthesise(
        self, segmentation: Tensor, z: Tensor | None = None, first: Tensor | None = None
    ) -> tuple[Tensor, Features]:
        """Return the image [B, 3, H, W] in [-1, 1] and the feature of each resolution that the next layers get.

        `segmentation` is the one-hot map [B, N, H, W], or in stage 1 a pseudo-condition [B, N], which is the same at
        each pixel. `z` [B, Z] ~ N(0, I) is drawn where it is None. `first` [B, C, r, r], in stage 1 alone, is summed
        with the output of the block at r px.
        """
        segmentation = spread_condition(segmentation, self.crop)
        if self.noisy:
            z = torch.randn(len(segmentation), self.z_dim, device=segmentation.device) if z is None else z
            segmentation = torch.cat([spread(z, segmentation), segmentation], 1)
        x = self.fc(F.interpolate(segmentation, size=self.side, mode="nearest"))
        features: Features = {}
        for number, block in enumerate(self.body):
            x = F.interpolate(x, scale_factor=2, mode="nearest") if number else x
            x = add_first(block(x, segmentation), first)
            features[x.shape[-1]] = x
        return torch.tanh(self.conv_img(F.leaky_relu(x, SLOPE))), features

    def forward(self, segmentation: Tensor, z: Tensor | None = None) -> Tensor:
        """Return the image [B, 3, H, W] of a map [B, N, H, W] and noise [B, Z]: see `synthesise`."""
        return self.synthesise(segmentation, z)[0]


class DiscriminatorBlock(nn.Module):
    """`residual_block_D`: two convolutions; `up_or_down` is 1 (doubles the size), -1 (halves it) or 0.

    The shortcut is pooled before its convolution in the first block, after it in later ones. The first block never
    doubles the size.
    """

    def __init__(
        self, fin: int, fout: int, up_or_down: int, first: bool = False, *, spectral_norm: bool = True
    ) -> None:
        super().__init__()
        self.first, self.up_or_down = first, up_or_down
        before: list[nn.Module] = [] if first else [nn.LeakyReLU(SLOPE)]
        if up_or_down > 0 and not first:
            before.append(nn.Upsample(scale_factor=2))
        self.conv1 = nn.Sequential(*before, spectral(nn.Conv2d(fin, fout, 3, padding=1), spectral_norm))
        second = spectral(nn.Conv2d(fout, fout, 3, padding=1), spectral_norm)
        self.conv2 = nn.Sequential(nn.LeakyReLU(SLOPE), second)
        self.learned_shortcut = fin != fout
        if self.learned_shortcut:
            self.conv_s = spectral(nn.Conv2d(fin, fout, 1), spectral_norm)

    def shortcut(self, x: Tensor) -> Tensor:
        """[B, I, h, w] -> [B, O, h', w']."""
        if self.up_or_down > 0 and not self.first:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if self.up_or_down < 0 and self.first:
            x = F.avg_pool2d(x, 2)
        x = self.conv_s(x) if self.learned_shortcut else x
        return F.avg_pool2d(x, 2) if self.up_or_down < 0 and not self.first else x

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, h, w] -> [B, O, h', w']."""
        inner = self.conv2(self.conv1(x))
        return self.shortcut(x) + (F.avg_pool2d(inner, 2) if self.up_or_down < 0 else inner)


class Discriminator(nn.Module):
    """`OASIS_Discriminator`: a U-Net that gives each pixel one of N + 1 classes, 0 (fake) or 1 + its label.

    It sees the image alone, so it has no place for a condition: a stage 1 judges with it as it is. `channels` are the
    widths from the image down; the official ones are `DISCRIMINATOR_WIDTHS`.
    """

    def __init__(
        self,
        semantic_nc: int,
        num_res_blocks: int = BLOCKS,
        no_spectral_norm: bool = False,
        channels: Sequence[int] = DISCRIMINATOR_WIDTHS,
    ) -> None:
        super().__init__()
        if num_res_blocks + 1 != len(channels):
            raise ValueError(f"{len(channels)} widths are for {len(channels) - 1} blocks, not for {num_res_blocks}")
        use = not no_spectral_norm
        sizes = list(pairwise(channels))
        self.body_up = nn.ModuleList([DiscriminatorBlock(channels[-1], channels[-2], 1, spectral_norm=use)])
        self.body_down = nn.ModuleList()
        for number, (a, b) in enumerate(sizes):
            self.body_down.append(DiscriminatorBlock(a, b, -1, number == 0, spectral_norm=use))
        for number in range(1, num_res_blocks):
            # The last block has half the width of the first one, 64 in the official code.
            outputs = channels[-2 - number] if number < num_res_blocks - 1 else channels[1] // 2
            self.body_up.append(DiscriminatorBlock(2 * channels[-1 - number], outputs, 1, spectral_norm=use))
        self.layer_up_last = nn.Conv2d(channels[1] // 2, semantic_nc + 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [B, N + 1, H, W] of images [B, 3, H, W] in [-1, 1]."""
        skips = []
        for block in self.body_down:
            x = block(x)
            skips.append(x)
        x = self.body_up[0](x)
        for number, block in enumerate(self.body_up[1:], 2):  # type: ignore[arg-type]
            x = block(torch.cat([skips[-number], x], 1))
        logits: Tensor = self.layer_up_last(x)
        return logits
