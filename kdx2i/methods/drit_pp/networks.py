"""The networks of MDMM, DRIT for many domains (`networks.py` of HsinYingLee/MDMM at 18360fe).

Parameters have the official names. Images are [B, 3, H, W] in [-1, 1], domains one-hot [B, C], attributes [B, A],
content maps [B, 4 W, H / 4, W / 4]. Official widths are the defaults.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from kdx2i.methods.drit_pp.blocks import (
    DownBlock,
    FeatureWiseBlock,
    LeakyConv,
    Noise,
    NormConv,
    ResBlock,
    UpConv,
    activation,
    padded,
)
from kdx2i.methods.shared_layers import spread


def content_layers(inputs: int, width: int, blocks: int) -> list[nn.Module]:
    """Return 7x7, two halvings and residual blocks at 4 x `width` channels."""
    down = [NormConv(width, 2 * width, 3, 2, 1), NormConv(2 * width, 4 * width, 3, 2, 1)]
    return [LeakyConv(inputs, width, 7, 1, 3), *down, *(ResBlock(4 * width) for _ in range(blocks))]


def attribute_layers(inputs: int, width: int, norm: str | None = None, nl: str = "lrelu") -> nn.Sequential:
    """Return the layers of a concatenation-mode attribute encoder: an image to features [B, 4 W, 1, 1]."""
    blocks = [DownBlock(step * width, (step + 1) * width, norm, nl) for step in (1, 2, 3)]
    return nn.Sequential(*padded(inputs, width, 4, 2, 1), *blocks, activation(nl), nn.AdaptiveAvgPool2d(1))


def plain_attribute_layers(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Return the layers of a feature-wise attribute encoder: an image to its attribute [B, O, 1, 1]."""
    layers = [*padded(inputs, width, 7, 1, 3), nn.ReLU(inplace=True)]
    for a, b in ((1, 2), (2, 4), (4, 4), (4, 4)):
        layers += [*padded(a * width, b * width, 4, 2, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(4 * width, outputs, 1))


def image_layers(inputs: int, outputs: int) -> list[nn.Module]:
    """Return the last layers of a generator: a 1x1 transposed convolution and tanh."""
    return [nn.ConvTranspose2d(inputs, outputs, 1), nn.Tanh()]


def doubled(inputs: int) -> list[nn.Module]:
    """Return two doublings of the size, each of which halves the channels."""
    return [UpConv(inputs, inputs // 2), UpConv(inputs // 2, inputs // 4)]


def code_layers(inputs: int, width: int) -> nn.Sequential:
    """Return the map of a code to those of four feature-wise blocks, [B, I] -> [B, 4 x 4 W]."""
    wide = 4 * width
    hidden = [nn.Linear(inputs, wide), nn.ReLU(inplace=True), nn.Linear(wide, wide), nn.ReLU(inplace=True)]
    return nn.Sequential(*hidden, nn.Linear(wide, 4 * wide))


class ContentEncoder(nn.Module):
    """`MD_E_content`: an image to its content map, with noise in training mode."""

    def __init__(self, input_dim: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv = nn.Sequential(*content_layers(input_dim, width, 4), Noise())

    def forward(self, x: Tensor) -> Tensor:
        """Encode images [B, 3, H, W] to contents [B, 4 W, H / 4, W / 4]."""
        result: Tensor = self.conv(x)
        return result


class AttributeEncoder(nn.Module):
    """`MD_E_attr_concat`: an image and its domain to mean and log variance of its attribute."""

    def __init__(
        self,
        input_dim: int = 3,
        output_nc: int = 8,
        c_dim: int = 3,
        width: int = 64,
        *,
        norm_layer: str | None = None,
        nl_layer: str = "lrelu",
    ) -> None:
        super().__init__()
        self.conv = attribute_layers(input_dim + c_dim, width, norm_layer, nl_layer)
        self.fc, self.fcVar = (nn.Sequential(nn.Linear(4 * width, output_nc)) for _ in range(2))

    def forward(self, x: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance [B, A]; the caller draws the sample."""
        features = self.conv(torch.cat([x, spread(domain, x)], 1)).flatten(1)
        return self.fc(features), self.fcVar(features)


class FeatureWiseAttributeEncoder(nn.Module):
    """`MD_E_attr`: an image and its domain to its attribute."""

    def __init__(self, input_dim: int = 3, output_nc: int = 8, c_dim: int = 3, width: int = 64) -> None:
        super().__init__()
        self.model = plain_attribute_layers(input_dim + c_dim, width, output_nc)

    def forward(self, x: Tensor, domain: Tensor) -> tuple[Tensor, None]:
        """Return the attribute [B, A], and None for a variance."""
        return self.model(torch.cat([x, spread(domain, x)], 1)).flatten(1), None


class Generator(nn.Module):
    """`MD_G_multi_concat`: domain and attribute join the content as maps; the attribute again at every size."""

    def __init__(self, output_dim: int = 3, c_dim: int = 3, nz: int = 8, width: int = 64) -> None:
        super().__init__()
        wide = 4 * width + nz + c_dim
        self.dec_share = nn.Sequential(ResBlock(4 * width))
        self.dec1 = nn.Sequential(*(ResBlock(wide) for _ in range(3)))
        half = (wide + nz) // 2
        quarter = (half + nz) // 2
        self.dec2 = nn.Sequential(UpConv(wide + nz, half))
        self.dec3 = nn.Sequential(UpConv(half + nz, quarter))
        self.dec4 = nn.Sequential(*image_layers(quarter + nz, output_dim))

    def forward(self, content: Tensor, attribute: Tensor, domain: Tensor) -> Tensor:
        """Return the image [B, 3, H, W] in [-1, 1]."""
        h = self.dec_share(content)
        h = self.dec1(torch.cat([h, spread(domain, h), spread(attribute, h)], 1))
        for stage in (self.dec2, self.dec3, self.dec4):
            h = stage(torch.cat([h, spread(attribute, h)], 1))
        result: Tensor = h
        return result


class FeatureWiseGenerator(nn.Module):
    """`MD_G_multi`: a map of domain and attribute enters four feature-wise blocks."""

    def __init__(self, output_dim: int = 3, c_dim: int = 3, nz: int = 8, width: int = 64) -> None:
        super().__init__()
        wide = 4 * width
        self.dec1, self.dec2, self.dec3, self.dec4 = (FeatureWiseBlock(wide, wide) for _ in range(4))
        self.decA5 = nn.Sequential(*doubled(wide), *image_layers(width, output_dim))
        self.mlp = code_layers(nz + c_dim, width)

    def forward(self, content: Tensor, attribute: Tensor, domain: Tensor) -> Tensor:
        """Return the image [B, 3, H, W] in [-1, 1]."""
        codes = self.mlp(torch.cat([domain, attribute], 1)).chunk(4, 1)
        for block, code in zip((self.dec1, self.dec2, self.dec3, self.dec4), codes, strict=True):
            content = block(content, code)
        result: Tensor = self.decA5(content)
        return result


class UnimodalGenerator(nn.Module):
    """`MD_G_uni`: no attribute; official, but without use in the released training."""

    def __init__(self, output_dim: int = 3, c_dim: int = 3, width: int = 64) -> None:
        super().__init__()
        wide = 4 * width + c_dim
        self.dec_share = nn.Sequential(ResBlock(4 * width))
        blocks = [ResBlock(wide) for _ in range(3)]
        self.dec = nn.Sequential(*blocks, *doubled(wide), *image_layers(wide // 4, output_dim))

    def forward(self, content: Tensor, domain: Tensor) -> Tensor:
        """Return the image [B, 3, H, W] in [-1, 1]."""
        h = self.dec_share(content)
        result: Tensor = self.dec(torch.cat([h, spread(domain, h)], 1))
        return result


class Discriminator(nn.Module):
    """`MD_Dis`: patch logits and domain logits of an image.

    The padding of `conv1` surrounds the patch logits with a ring of zeros. `n_layer` halvings, official 6, must
    leave at least one pixel.
    """

    def __init__(
        self,
        input_dim: int = 3,
        sn: bool = False,
        c_dim: int = 3,
        image_size: int = 216,
        width: int = 64,
        n_layer: int = 6,
    ) -> None:
        super().__init__()
        widths = [input_dim, *(width * 2 ** min(step, n_layer - 2) for step in range(n_layer))]
        self.model = nn.Sequential(*(LeakyConv(a, b, 3, 2, 1, spectral=sn) for a, b in pairwise(widths)))
        self.conv1 = nn.Conv2d(widths[-1], 1, 1, padding=1, bias=False)
        self.conv2 = nn.Conv2d(widths[-1], c_dim, image_size // 2**n_layer, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return patch logits [B, 1, h + 2, w + 2] and domain logits [B, C]."""
        h = self.model(x)
        return self.conv1(h), self.pool(self.conv2(h)).flatten(1)


class ContentDiscriminator(nn.Module):
    """`MD_Dis_content`: domain logits [B, C] of a content map that `n_layer` halvings bring to 4 x 4.

    The official kernel of 7 loses two pixels more at each halving, so that only 53 to 60 px maps fit; with a
    kernel of 3 it is 4 * 2^n px.
    """

    def __init__(self, c_dim: int = 3, width: int = 64, kernel: int = 7, n_layer: int = 3) -> None:
        super().__init__()
        wide = 4 * width
        halvings = [LeakyConv(wide, wide, kernel, 2, 1) for _ in range(n_layer)]
        self.model = nn.Sequential(*halvings, LeakyConv(wide, wide, 4, 1, 0), nn.Conv2d(wide, c_dim, 1))

    def forward(self, content: Tensor) -> Tensor:
        """Classify the content."""
        result: Tensor = self.model(content).flatten(1)
        return result
