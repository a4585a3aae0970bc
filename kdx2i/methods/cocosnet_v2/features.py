"""The adaptive feature pyramid of CoCosNet v2 (`AdaptiveFeatureGenerator` of `models/networks/correspondence.py`)."""

import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.cocosnet_v2.blocks import HIDDEN, NORM_E, NORM_G, ResidualBlock, SpadeBlock, leaky, normalized


class AdaptiveFeatures(nn.Module):
    """Features of a label map, or of an image with its map, at a scale of 1/8, 1/4, 1/2 and 1.

    `inputs` channels come in; the features have 4, 4, 2 and 1 times `width` channels. They are computed on the way
    down, then refined on the way up by SPADE blocks whose condition is the input itself.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        kernel: int = 3,
        norm: str = NORM_E,
        spade_norm: str = NORM_G,
        pono: bool = True,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()

        def convolution(a: int, b: int, size: int, stride: int, padding: int) -> nn.Module:
            return normalized(nn.Conv2d(a * width, b * width, size, stride, padding), norm)

        def block(a: int, b: int) -> SpadeBlock:
            return SpadeBlock(a * width, b * width, inputs, spade_norm, pono=pono, hidden=hidden)

        pad = (kernel - 1) // 2
        self.layer1 = normalized(nn.Conv2d(inputs, width, 3, 1, pad), norm)
        self.layer2 = nn.Sequential(convolution(1, 2, 3, 1, 1), ResidualBlock(2 * width))
        self.layer3, self.layer4, self.layer5 = (
            nn.Sequential(convolution(a, 4, kernel, 2, pad), ResidualBlock(4 * width)) for a in (2, 4, 4)
        )
        self.head_0, self.G_middle_0 = block(4, 4), block(4, 4)
        self.G_middle_1, self.G_middle_2 = block(4, 2), block(2, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of an input [B, N, R, R], the coarsest first: [B, C_i, R / 2^(3 - i), R / 2^(3 - i)]."""
        down = [self.layer1(x)]
        for layer in (self.layer2, self.layer3, self.layer4, self.layer5):
            down.append(layer(leaky(down[-1])))
        features: list[Tensor] = [self.head_0(down[4], x)]
        for block, beside in ((self.G_middle_0, down[3]), (self.G_middle_1, down[2]), (self.G_middle_2, down[1])):
            features.append(block(_enlarged(features[-1]) + beside, x))
        return features


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
