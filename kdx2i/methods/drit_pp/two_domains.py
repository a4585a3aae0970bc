"""The networks of DRIT for two domains (`src/networks.py` of HsinYingLee/DRIT at f19f50a).

Parameters have the official names. Each network holds the parts of both domains, which a letter tells apart.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from kdx2i.methods.drit_pp.blocks import FeatureWiseBlock, LeakyConv, Noise, ResBlock, SpectralConv2d, UpConv
from kdx2i.methods.drit_pp.networks import (
    attribute_layers,
    code_layers,
    content_layers,
    doubled,
    image_layers,
    plain_attribute_layers,
)
from kdx2i.methods.shared_layers import spread

DOMAINS = ("A", "B")
CODE = 8
"""Length of an attribute that the feature-wise generator takes, whatever `nz` says (`G` has it in its code)."""


class PairContentEncoder(nn.Module):
    """`E_content`: images of both domains to content maps; the last block, with noise, is shared."""

    def __init__(self, input_dim_a: int = 3, input_dim_b: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv_share = nn.Sequential(ResBlock(4 * width), Noise())
        self.convA, self.convB = (nn.Sequential(*content_layers(n, width, 3)) for n in (input_dim_a, input_dim_b))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the contents [B, 4 W, H / 4, W / 4] of images [B, 3, H, W] of each domain."""
        return self.conv_share(self.convA(a)), self.conv_share(self.convB(b))


class PairAttributeEncoder(nn.Module):
    """`E_attr_concat`: images of both domains to mean and log variance of their attributes."""

    def __init__(
        self,
        input_dim_a: int = 3,
        input_dim_b: int = 3,
        output_nc: int = 8,
        width: int = 64,
        *,
        norm_layer: str | None = None,
        nl_layer: str = "lrelu",
    ) -> None:
        super().__init__()
        inputs = (input_dim_a, input_dim_b)
        self.conv_A, self.conv_B = (attribute_layers(n, width, norm_layer, nl_layer) for n in inputs)
        self.fc_A, self.fcVar_A, self.fc_B, self.fcVar_B = (
            nn.Sequential(nn.Linear(4 * width, output_nc)) for _ in range(4)
        )

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mean and log variance of the first domain, then of the second, each [B, A]."""
        first, second = self.conv_A(a).flatten(1), self.conv_B(b).flatten(1)
        return self.fc_A(first), self.fcVar_A(first), self.fc_B(second), self.fcVar_B(second)


class PairFeatureWiseAttributeEncoder(nn.Module):
    """`E_attr`: images of both domains to their attributes."""

    def __init__(self, input_dim_a: int = 3, input_dim_b: int = 3, output_nc: int = 8, width: int = 64) -> None:
        super().__init__()
        self.model_a, self.model_b = (plain_attribute_layers(n, width, output_nc) for n in (input_dim_a, input_dim_b))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attributes [B, A] of both domains."""
        return self.model_a(a).flatten(1), self.model_b(b).flatten(1)


class PairGenerator(nn.Module):
    """`G_concat`: content and attribute to an image of either domain; the first block is shared."""

    def __init__(self, output_dim_a: int = 3, output_dim_b: int = 3, nz: int = 8, width: int = 64) -> None:
        super().__init__()
        wide = 4 * width + nz
        half = (wide + nz) // 2
        quarter = (half + nz) // 2
        self.dec_share = nn.Sequential(ResBlock(4 * width))
        for domain, outputs in zip(DOMAINS, (output_dim_a, output_dim_b), strict=True):
            self.add_module(f"dec{domain}1", nn.Sequential(*(ResBlock(wide) for _ in range(3))))
            self.add_module(f"dec{domain}2", nn.Sequential(UpConv(wide + nz, half)))
            self.add_module(f"dec{domain}3", nn.Sequential(UpConv(half + nz, quarter)))
            self.add_module(f"dec{domain}4", nn.Sequential(*image_layers(quarter + nz, outputs)))

    def forward(self, content: Tensor, attribute: Tensor, domain: str) -> Tensor:
        """Return the image [B, 3, H, W] in [-1, 1] of the domain A or B."""
        h = self.dec_share(content)
        for stage in range(1, 5):
            h = self.get_submodule(f"dec{domain}{stage}")(torch.cat([h, spread(attribute, h)], 1))
        result: Tensor = h
        return result


class PairFeatureWiseGenerator(nn.Module):
    """`G`: a map of the attribute [B, 8] enters the four feature-wise blocks of either domain; `nz` has no effect."""

    def __init__(self, output_dim_a: int = 3, output_dim_b: int = 3, nz: int = 8, width: int = 64) -> None:
        super().__init__()
        wide = 4 * width
        for domain, outputs in zip(DOMAINS, (output_dim_a, output_dim_b), strict=True):
            for block in range(1, 5):
                self.add_module(f"dec{domain}{block}", FeatureWiseBlock(wide, wide))
            self.add_module(f"dec{domain}5", nn.Sequential(*doubled(wide), *image_layers(width, outputs)))
            self.add_module(f"mlp{domain}", code_layers(CODE, width))

    def forward(self, content: Tensor, attribute: Tensor, domain: str) -> Tensor:
        """Return the image [B, 3, H, W] in [-1, 1] of the domain A or B."""
        codes = self.get_submodule(f"mlp{domain}")(attribute).chunk(4, 1)
        for block, code in enumerate(codes, start=1):
            content = self.get_submodule(f"dec{domain}{block}")(content, code)
        result: Tensor = self.get_submodule(f"dec{domain}5")(content)
        return result


def _scale(inputs: int, widths: Sequence[int], kernel: int, *, spectral: bool) -> nn.Sequential:
    """Return halvings of these widths and a 1x1 convolution to logits."""
    sizes = pairwise([inputs, *widths])
    last = (SpectralConv2d if spectral else nn.Conv2d)(widths[-1], 1, 1)
    return nn.Sequential(*(LeakyConv(a, b, kernel, 2, 1, spectral=spectral) for a, b in sizes), last)


class MultiScaleDiscriminator(nn.Module):
    """`MultiScaleDis`: patch logits of the image at halved sizes."""

    def __init__(
        self, input_dim: int = 3, n_scale: int = 3, n_layer: int = 4, sn: bool = False, width: int = 64
    ) -> None:
        super().__init__()
        widths = [width * 2**layer for layer in range(n_layer)]
        self.downsample = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.Diss = nn.ModuleList(_scale(input_dim, widths, 4, spectral=sn) for _ in range(n_scale))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the logits [B, 1, h, w] of every scale, the full size first."""
        logits = []
        for scale in self.Diss:
            logits.append(scale(x))
            x = self.downsample(x)
        return logits


class SingleDiscriminator(nn.Module):
    """`Dis`: logits of the whole batch in one line."""

    def __init__(self, input_dim: int = 3, sn: bool = False, width: int = 64) -> None:
        super().__init__()
        self.model = _scale(input_dim, [width * 2**layer for layer in range(6)], 3, spectral=sn)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B * h * w]."""
        result: Tensor = self.model(x).flatten()
        return result


class PairContentDiscriminator(nn.Module):
    """`Dis_content`: logits, in one line, of content maps of at least 53 px."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        wide = 4 * width
        halvings = [LeakyConv(wide, wide, 7, 2, 1) for _ in range(3)]
        self.model = nn.Sequential(*halvings, LeakyConv(wide, wide, 4, 1, 0), nn.Conv2d(wide, 1, 1))

    def forward(self, content: Tensor) -> Tensor:
        """[B, 4 W, h, w] -> [B * h' * w']."""
        result: Tensor = self.model(content).flatten()
        return result
