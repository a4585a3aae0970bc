"""The translation network and the discriminator (`models/networks/{generator,discriminator}.py`)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.methods.cocosnet_v2.blocks import HIDDEN, NORM_D, NORM_G, SpadeBlock, leaky, normalized

HALVINGS = 5
"""How often the image is halved to get the size at which the translation network starts."""

WARPED = 12
"""Channels of the four warped exemplars."""


class Generator(nn.Module):
    """`SPADEGenerator`: images from the condition, which holds the warped exemplars and the label map.

    It starts at `start` (rows, columns): the size of the image over 32. There is no noise.
    """

    def __init__(
        self,
        labels: int,
        width: int,
        start: tuple[int, int],
        *,
        norm: str = NORM_G,
        pono: bool = True,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        self.start, condition = start, WARPED + labels

        def block(a: int, b: int) -> SpadeBlock:
            return SpadeBlock(a * width, b * width, condition, norm, pono=pono, hidden=hidden)

        self.fc = nn.Conv2d(condition, 8 * width, 3, padding=1)
        self.head_0, self.G_middle_0, self.G_middle_1 = block(8, 8), block(8, 8), block(8, 8)
        self.up_0, self.up_1, self.up_2, self.up_3 = block(8, 8), block(8, 4), block(4, 2), block(2, 1)
        self.conv_img = nn.Conv2d(width, 3, 3, padding=1)

    @staticmethod
    def condition(label_map: Tensor, warps: Sequence[Tensor]) -> Tensor:
        """Return the condition [B, 12 + L, R, R] of a one-hot map [B, L, R, R] and four warps [B, 3, s, s]."""
        return torch.cat([*(F.interpolate(warp, size=label_map.shape[2:]) for warp in warps), label_map], 1)

    def forward(self, condition: Tensor, first: Tensor | None = None) -> tuple[Tensor, Features]:
        """Return images [B, 3, R, R] in [-1, 1] and the features [B, C, r, r] behind the last block at each size.

        `condition` is [B, 12 + L, R, R]; a pseudo-condition, spread over the positions, may take its place. `first`
        [B, C, r, r] is added to the feature of its size before that goes on.
        """
        x, features = self.fc(F.interpolate(condition, size=self.start)), {}
        steps = (self.head_0,), (self.G_middle_0, self.G_middle_1), (self.up_0,), (self.up_1,), (self.up_2,)
        for number, blocks in enumerate((*steps, (self.up_3,))):
            x = F.interpolate(x, scale_factor=2.0) if number else x
            for block in blocks:
                x = block(x, condition)
            if first is not None and first.shape[2:] == x.shape[2:]:
                x = x + first
            features[x.shape[-1]] = x
        return self.conv_img(leaky(x)).tanh(), features


class PatchDiscriminator(nn.Module):
    """`NLayerDiscriminator`; its decoder `dec` is in official checkpoints and is never run."""

    def __init__(self, inputs: int, labels: int, width: int, layers: int, norm: str = NORM_D) -> None:
        super().__init__()
        widths = [width]
        for _ in range(layers - 1):
            widths.append(min(2 * widths[-1], 512))
        decoder: list[nn.Module] = []
        channels = widths[layers - 2]
        for _ in range(layers - 1):
            convolution = nn.Conv2d(channels, channels // 2, 3, padding=1)
            decoder += [nn.Upsample(scale_factor=2), normalized(convolution, norm), nn.LeakyReLU(0.2)]
            channels //= 2
        if layers > 1:  # never run, so that it learns nothing
            self.dec = nn.Sequential(*decoder, nn.Conv2d(channels, labels, 3, padding=1)).requires_grad_(False)
        self.model0 = nn.Sequential(nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2))
        for number, (a, b) in enumerate(pairwise(widths), start=1):
            stride = 1 if number == layers - 1 else 2
            layer = nn.Sequential(normalized(nn.Conv2d(a, b, 4, stride, 1), norm), nn.LeakyReLU(0.2))
            self.add_module(f"model{number}", layer)
        self.add_module(f"model{layers}", nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, 1)))
        self.layers = layers

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of all layers of an input [B, N, R, R]; the last one are the logits [B, 1, r, r]."""
        outputs: list[Tensor] = []
        for number in range(self.layers + 1):
            x = self.get_submodule(f"model{number}")(x)
            outputs.append(x)
        return outputs


class Discriminator(nn.Module):
    """`MultiscaleDiscriminator`: the map and the image, one behind the other, at full size and halved again and again.

    A pseudo-condition may take the map's place.
    """

    def __init__(
        self, inputs: int, labels: int, width: int, *, scales: int = 2, layers: int = 4, norm: str = NORM_D
    ) -> None:
        super().__init__()
        self.scales = scales
        for scale in range(scales):
            self.add_module(f"discriminator_{scale}", PatchDiscriminator(inputs, labels, width, layers, norm))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return, for each scale, the outputs of all layers of maps with images, [B, L + 3, R, R]."""
        outputs = []
        for scale in range(self.scales):
            outputs.append(self.get_submodule(f"discriminator_{scale}")(x))
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return outputs
