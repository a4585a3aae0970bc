"""The networks of DMIT (`models/modules/network.py` of Xiaoming-Yu/DMIT at 311cb43), with the official names.

Images are [B, 3, H, W] in [-1, 1], domains one-hot [B, C], styles [B, S]. Only `norm_type` cbin exists: the
other conditional norms of the official code fail when they are built or loaded.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from kdx2i.methods.dmit.blocks import (
    LARGEST_CONTENT_WIDTH,
    LARGEST_STYLE_WIDTH,
    LARGEST_WIDTH,
    ConditionalDownBlock,
    ConditionalResBlock,
    ConvBlock,
    DownBlock,
    ResBlock,
    UpBlock,
    instance_norm,
    leaky,
)


def _check_norm(norm_type: str) -> None:
    if norm_type != "cbin":
        raise ValueError(f"norm_type `{norm_type}` does not run in the official code; only cbin does")


class ContentEncoder(nn.Module):
    """An image to its content map [B, min(nef * 2^D, 1024), H / 2^D, W / 2^D], D = `n_ds_blocks`."""

    def __init__(
        self, input_nc: int = 3, nef: int = 64, n_ds_blocks: int = 2, n_resblocks: int = 4, norm_type: str = "cbin"
    ) -> None:
        super().__init__()
        _check_norm(norm_type)
        layers: list[nn.Module] = [ConvBlock(input_nc, nef, 7, 1, 3, norm=instance_norm, activation=leaky)]
        for _ in range(n_ds_blocks):
            wider = min(2 * nef, LARGEST_CONTENT_WIDTH)
            layers.append(ConvBlock(nef, wider, 4, 2, 1, norm=instance_norm, activation=leaky))
            nef = wider
        self.encode = nn.Sequential(*layers, *(ResBlock(nef) for _ in range(n_resblocks)))

    def forward(self, x: Tensor) -> Tensor:
        """Encode."""
        result: Tensor = self.encode(x)
        return result


class StyleEncoder(nn.Module):
    """An image to mean and log variance [B, S] of its style; block n is min(n * nef, 256) channels wide."""

    def __init__(
        self, input_nc: int = 3, nef: int = 64, n_style: int = 8, n_blocks: int = 4, norm_type: str = "cbin"
    ) -> None:
        super().__init__()
        _check_norm(norm_type)
        layers: list[nn.Module] = [ConvBlock(input_nc, nef, 4, 2, 1, bias=True)]
        widths = [min(nef * block, LARGEST_STYLE_WIDTH) for block in range(1, n_blocks + 1)]
        layers += [DownBlock(*pair) for pair in pairwise(widths)]
        self.encode = nn.Sequential(*layers, leaky(), nn.AdaptiveAvgPool2d(1))
        self.fc, self.fcVar = (spectral_norm(nn.Linear(widths[-1], n_style)) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance; the caller draws the sample."""
        features = self.encode(x).flatten(1)
        return self.fc(features), self.fcVar(features)


class Decoder(nn.Module):
    """A content map and a code (domain, then style) to an image."""

    def __init__(
        self,
        input_nc: int = 256,
        output_nc: int = 3,
        n_latent: int = 16,
        n_us_blocks: int = 2,
        n_resblocks: int = 6,
        norm_type: str = "cbin",
        up_type: str = "transpose",
        use_dropout: bool = False,
    ) -> None:
        super().__init__()
        _check_norm(norm_type)
        self.n_resblocks = n_resblocks
        blocks = [ConditionalResBlock(input_nc, n_latent, dropout=use_dropout) for _ in range(n_resblocks)]
        layers: list[nn.Module] = [*blocks]
        for _ in range(n_us_blocks):
            layers.append(UpBlock(input_nc, input_nc // 2, up_type))
            input_nc //= 2
        layers.append(ConvBlock(input_nc, output_nc, 7, 1, 3, activation=nn.Tanh, bias=True))
        self.decode = nn.Sequential(*layers)

    def forward(self, content: Tensor, code: Tensor) -> Tensor:
        """content [B, W, h, w], code [B, N] -> image [B, 3, H, W] in [-1, 1]."""
        for index, layer in enumerate(self.decode):
            content = layer(content, code) if index < self.n_resblocks else layer(content)
        return content


class StyleDiscriminator(nn.Module):
    """Patch logits of an image, or of a content map, given a domain."""

    def __init__(
        self, input_nc: int = 3, ndf: int = 64, n_block: int = 3, norm_type: str = "cbin", n_latent: int = 2
    ) -> None:
        super().__init__()
        _check_norm(norm_type)
        self.head = ConvBlock(input_nc, ndf, 4, 2, 1, bias=True)
        layers: list[nn.Module] = []
        for _ in range(n_block - 1):
            wider = min(2 * ndf, LARGEST_WIDTH)
            layers.append(ConditionalDownBlock(ndf, wider, n_latent))
            ndf = wider
        self.encode = nn.Sequential(*layers, ConvBlock(ndf, 1, 1, 1, 0, bias=True))

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        """x [B, I, H, W], domain [B, C] -> logits [B, 1, H / 2^n, W / 2^n], n = `n_block`."""
        h = self.head(x)
        for layer in self.encode[:-1]:
            h = layer(h, domain)
        result: Tensor = self.encode[-1](h)
        return result


class MultiStyleDiscriminator(nn.Module):
    """Two discriminators: on the image and, half as wide, on the image at half the size."""

    def __init__(
        self, input_nc: int = 3, ndf: int = 64, n_block: int = 3, norm_type: str = "cbin", n_latent: int = 2
    ) -> None:
        super().__init__()
        self.model_1 = StyleDiscriminator(input_nc, ndf, n_block, norm_type, n_latent)
        self.down = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.model_2 = StyleDiscriminator(input_nc, ndf // 2, n_block, norm_type, n_latent)

    def forward(self, x: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits [B, 1, h, w] of both scales for images [B, 3, H, W] and domains [B, C]."""
        return self.model_1(x, domain), self.model_2(self.down(x), domain)


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Draw convolutions and linear layers from N(0, 0.02), biases zero (`weights_init` of `base_model.py`)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.weight_orig.normal_(0.0, 0.02)  # type: ignore[operator, union-attr]
            if module.bias is not None:
                module.bias.zero_()
