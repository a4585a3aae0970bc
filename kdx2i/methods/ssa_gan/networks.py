"""The networks of SSA-GAN (`model.py` of wtliao/text2image at 3063e27), with the official parameter names.

Images are [B, 3, R, R] in [-1, 1]. The official networks draw 256 px. Below that the same networks end earlier: the
channels of a resolution are those that the official generator has there, and the discriminator's widths count from the
image inwards.
"""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.methods.ssa_gan.blocks import ConditionHead, DiscriminatorBlock, GeneratorBlock, mask_head

BOTTOM, OFFICIAL_RESOLUTION = 4, 256
CONDITION = 256
FirstFeature = Literal["block-input", "block-output"]


def channel_multiples(resolution: int) -> dict[int, int]:
    """Return the channels at 4, 8, ... `resolution` px, as multiples of `ngf`: 8, 8, 8, 8, 4, 2, 1 at 256 px."""
    sides = [BOTTOM << step for step in range((resolution // BOTTOM).bit_length())]
    return {side: min(8, max(1, OFFICIAL_RESOLUTION // side)) for side in sides}


class Generator(nn.Module):
    """`NetG`: noise [B, Z] ~ N(0, I) and a condition [B, D] -> image.

    Stage 1 enters in three places: `c` may be a pseudo-condition of width D, `first` is the teacher's first feature,
    and `render` returns the features that are aligned. Without `first` it computes what the official forward computes.
    `first_feature` says where `first` is summed (protocol entry ssa-gan-first-feature).
    """

    def __init__(
        self,
        ngf: int,
        nz: int,
        resolution: int = OFFICIAL_RESOLUTION,
        condition: int = CONDITION,
        hidden: int = 256,
        first_feature: FirstFeature = "block-output",
    ) -> None:
        super().__init__()
        self.ngf, self.nz, self.resolution, self.first_feature = ngf, nz, resolution, first_feature
        self.fc = nn.Linear(nz, 8 * ngf * BOTTOM * BOTTOM)
        self.conv_mask = mask_head(8 * ngf)
        self.sides = list(channel_multiples(resolution))
        widths = [8 * ngf, *(multiple * ngf for multiple in channel_multiples(resolution).values())]
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            last = number == len(self.sides) - 1
            block = GeneratorBlock(inputs, outputs, condition, hidden, predict_mask=not last)
            self.add_module(f"block{number}", block)
        self.conv_img = nn.Sequential(
            nn.BatchNorm2d(widths[-1]), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(widths[-1], 3, 3, 1, 1), nn.Tanh()
        )

    def render(self, z: Tensor, c: Tensor, first: Tensor | None = None) -> tuple[Tensor, Features, dict[int, Tensor]]:
        """Return the image [B, 3, R, R], the block outputs {r: [B, C, r, r]} and the masks {r: [B, 1, r, r]}.

        `first` [B, C, r, r] (C the generator's own channels at r) is summed with what enters the block at r, or with
        what leaves it; a resolution that the generator lacks raises `ValueError`.
        """
        if first is not None and first.shape[-1] not in self.sides:
            raise ValueError(f"the generator has no features of {first.shape[-1]} px, but of {self.sides}")
        x = self.fc(z).reshape(len(z), -1, BOTTOM, BOTTOM)
        logits: Tensor | None = self.conv_mask(x)
        features: Features = {}
        masks: dict[int, Tensor] = {}
        for number, side in enumerate(self.sides):
            if number:
                x = F.interpolate(x, scale_factor=2)
                # The mask is enlarged before its sigmoid, and with aligned corners; features by nearest neighbours.
                assert logits is not None
                logits = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=True)
            assert logits is not None
            masks[side] = torch.sigmoid(logits)
            here = first if first is not None and first.shape[-1] == side else None
            if here is not None and self.first_feature == "block-input":
                x, here = x + here, None
            x, logits = self.get_submodule(f"block{number}")(x, c, masks[side], here)
            features[side] = x
        return self.conv_img(x), features, masks

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """[B, Z] and [B, D] -> [B, 3, R, R]."""
        return self.render(z, c)[0]


class Discriminator(nn.Module):
    """`NetD`: image -> features [B, F, 4, 4]; `COND_DNET` judges features under a condition.

    In stage 1 the condition may be a pseudo-condition of the same width. There is no unconditional head.
    """

    def __init__(self, ndf: int, resolution: int = OFFICIAL_RESOLUTION, condition: int = CONDITION) -> None:
        super().__init__()
        count = (resolution // BOTTOM).bit_length() - 1
        widths = [min(16, 1 << step) * ndf for step in range(count + 1)]
        self.conv_img = nn.Conv2d(3, ndf, 3, 1, 1)
        self.blocks = [f"block{number}" for number in range(count)]
        for name, (inputs, outputs) in zip(self.blocks, pairwise(widths), strict=True):
            self.add_module(name, DiscriminatorBlock(inputs, outputs))
        self.COND_DNET = ConditionHead(widths[-1], condition, 2 * ndf)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, F, 4, 4]."""
        x = self.conv_img(x)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return x

    def judge(self, features: Tensor, c: Tensor) -> Tensor:
        """Features [B, F, 4, 4] and conditions [B, D] -> logits [B]."""
        logits: Tensor = self.COND_DNET(features, c)
        return logits.flatten()

    def discriminate(self, x: Tensor, c: Tensor) -> Tensor:
        """Images [B, 3, R, R] and conditions [B, D], real or pseudo -> logits [B]."""
        return self.judge(self(x), c)
