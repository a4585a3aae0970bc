"""The multi-scale patch discriminator of pix2pixHD and SPADE (`models/networks/discriminator.py` of NVlabs/SPADE)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.families.label_maps.blocks import SLOPE, normalised
from kdx2i.methods.families.label_maps.maps import spread_condition

KERNEL, PADDING, WIDEST = 4, 2, 512
Judgement = list[list[Tensor]]
"""For each scale the outputs of its groups of layers [B, C, h, w]; the last one is the prediction [B, 1, h, w]."""


class PatchDiscriminator(nn.Module):
    """`NLayerDiscriminator`: groups `model0` ... of convolutions; all but the last two halve the size.

    `norm` is the official option (`spectralinstance`); `features`: whether all groups are returned or the last one.
    """

    def __init__(self, inputs: int, width: int, layers: int, norm: str, *, features: bool = True) -> None:
        super().__init__()
        self.features = features
        widths = [width, *(min(width * 2**n, WIDEST) for n in range(1, layers))]
        groups = [nn.Sequential(nn.Conv2d(inputs, width, KERNEL, 2, PADDING), nn.LeakyReLU(SLOPE))]
        for number, (a, b) in enumerate(pairwise(widths), 1):
            stride = 1 if number == layers - 1 else 2
            convolution = normalised(nn.Conv2d(a, b, KERNEL, stride, PADDING), norm)
            groups.append(nn.Sequential(convolution, nn.LeakyReLU(SLOPE)))
        groups.append(nn.Sequential(nn.Conv2d(widths[-1], 1, KERNEL, 1, PADDING)))
        for number, group in enumerate(groups):
            self.add_module(f"model{number}", group)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, I, H, W] -> the outputs of the groups."""
        outputs = []
        for group in self.children():
            x = group(x)
            outputs.append(x)
        return outputs if self.features else outputs[-1:]


class MultiscaleDiscriminator(nn.Module):
    """`MultiscaleDiscriminator`: the same patch discriminator, with weights of its own, at several scales."""

    def __init__(
        self,
        inputs: int,
        width: int = 64,
        scales: int = 2,
        layers: int = 4,
        norm: str = "spectralinstance",
        *,
        features: bool = True,
    ) -> None:
        super().__init__()
        for scale in range(scales):
            self.add_module(
                f"discriminator_{scale}", PatchDiscriminator(inputs, width, layers, norm, features=features)
            )

    def forward(self, x: Tensor) -> Judgement:
        """Judge the map with the image, [B, N + 3, H, W], at full size first."""
        outputs = []
        for discriminator in self.children():
            outputs.append(discriminator(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return outputs

    def judge(self, condition: Tensor, image: Tensor) -> Judgement:
        """Judge images [B, 3, H, W] given their maps [B, N, H, W] or, in stage 1, a pseudo-condition [B, N]."""
        maps = spread_condition(condition, (image.shape[2], image.shape[3]))
        outputs: Judgement = self(torch.cat([maps.to(image.dtype), image], 1))
        return outputs

    def judge_pair(self, condition: Tensor, fake: Tensor, real: Tensor) -> tuple[Judgement, Judgement]:
        """Judge fakes and real images [B, 3, H, W] of the same maps in one batch, as the official `discriminate`."""
        both = self.judge(torch.cat([condition, condition]), torch.cat([fake, real]))
        halves = [[layer.chunk(2) for layer in scale] for scale in both]
        return (
            [[layer[0] for layer in scale] for scale in halves],
            [[layer[1] for layer in scale] for scale in halves],
        )
