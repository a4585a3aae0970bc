"""The networks of SDIT (`model.py` of yaxingwang/SDIT at 73015f9), with the official parameter names.

Images are [B, 3, H, W] in [-1, 1], domains one-hot [B, C], styles [B, 8]. The generator's encoder and decoder
normalise with running statistics in evaluation mode and with each image's own in training mode; the official
code translates in training mode, and so does `kdx2i.methods.sdit.method`.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.sdit.blocks import (
    AdaptiveNorm,
    AdaptiveResBlocks,
    ConvBlock,
    Mlp,
    ResBlock,
    assign_adain,
    instance_norm,
)
from kdx2i.methods.shared_layers import Lines, spread

STYLE_DIM = 8
MLP_INPUTS = 32


def _down(inputs: int, width: int, blocks: int) -> list[nn.Module]:
    """Return the encoder's layers: 7x7, two halvings, residual blocks."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, width, 7, 1, 3, bias=False),
        instance_norm(width),
        nn.ReLU(inplace=True),
    ]
    for step in range(2):
        a, b = width * 2**step, width * 2 ** (step + 1)
        layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), instance_norm(b), nn.ReLU(inplace=True)]
    return layers + [ResBlock(4 * width) for _ in range(blocks)]


def _up(width: int) -> list[nn.Module]:
    """Return the decoder's layers: two doublings, 7x7, tanh."""
    layers: list[nn.Module] = []
    for a, b in ((4 * width, 2 * width), (2 * width, width)):
        layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), instance_norm(b), nn.ReLU(inplace=True)]
    return [*layers, nn.Conv2d(width, 3, 7, 1, 3, bias=False), nn.Tanh()]


class Encoder(nn.Module):
    """The content encoder: image and domain [B, 3 + C, H, W] -> [B, 4 W, H / 4, W / 4]."""

    def __init__(self, inputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*_down(inputs, width, blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Encode."""
        result: Tensor = self.main(x)
        return result


class AdaptivePart(nn.Module):
    """The AdaIN blocks and the MLP that drives them; `dec` only sizes the MLP and stays in the checkpoints."""

    def __init__(
        self, width: int, n_res: int, dim: int, style_dim: int, mlp_dim: int, activ: str, pad: str, norm: str
    ) -> None:
        super().__init__()
        self.dec = AdaptiveResBlocks(n_res, dim, norm, activ, pad)
        numbers = sum(2 * dim for module in self.dec.modules() if isinstance(module, AdaptiveNorm))
        self.mlp = Mlp(style_dim, numbers, mlp_dim, 3, activ)
        self.ResBlocks_AdaIN_tv = AdaptiveResBlocks(n_res, 4 * width, norm, activ, pad)
        self.main = nn.Sequential(self.ResBlocks_AdaIN_tv)

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Modulate the content [B, 4 W, h, w] by the style [B, S]."""
        assign_adain(self.mlp(style), self.ResBlocks_AdaIN_tv)
        result: Tensor = self.main(content)
        return result


class Attention(nn.Module):
    """The attention map [B, 1, h, w] of encoder features: residual blocks, one convolution, sigmoid."""

    def __init__(self, dim: int, blocks: int) -> None:
        super().__init__()
        last = ResBlock(dim)
        last.main = nn.Sequential(nn.Conv2d(dim, 1, 3, 1, 1, bias=False), instance_norm(1), nn.Sigmoid())
        self.main = nn.Sequential(*(ResBlock(dim) for _ in range(blocks)), last)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, 1, h, w] in (0, 1)."""
        for block in self.main[:-1]:
            x = block(x)
        result: Tensor = self.main[-1].main(x)  # type: ignore[union-attr, operator]
        return result


class AttentionGenerator(nn.Module):
    """`Generator_w_att`: attention times the AdaIN features, decoded."""

    def __init__(
        self,
        conv_dim: int = 64,
        c_dim: int = 5,
        repeat_num: int = 6,
        n_res: int = 4,
        dim: int = 64,
        style_dim: int = STYLE_DIM,
        mlp_dim: int = 256,
        activ: str = "relu",
        pad_type: str = "reflect",
        res_norm: str = "adain",
    ) -> None:
        super().__init__()
        self.enc = Encoder(3 + c_dim, conv_dim, repeat_num)
        self.ada = AdaptivePart(conv_dim, n_res, dim, style_dim, mlp_dim, activ, pad_type, res_norm)
        self.att = Attention(4 * conv_dim, repeat_num - 1)
        self.main = nn.Sequential(*_up(conv_dim))

    def forward(self, x: Tensor, c: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Return the translation [B, 3, H, W] and the attention as an image of the same size, both in [-1, 1]."""
        content = self.enc(torch.cat([x, spread(c, x)], 1))
        attention = self.att(content)
        image = self.main(attention * self.ada(content, style))
        shown = F.interpolate(attention.repeat(1, 3, 1, 1) * 2 - 1, scale_factor=4, mode="bilinear")
        return image, shown


class PlainGenerator(nn.Module):
    """`Generator_wo_att`: the same layers in one line, without attention."""

    def __init__(
        self,
        conv_dim: int = 64,
        c_dim: int = 5,
        repeat_num: int = 6,
        n_res: int = 4,
        dim: int = 64,
        style_dim: int = STYLE_DIM,
        mlp_dim: int = 256,
        activ: str = "relu",
        pad_type: str = "reflect",
        res_norm: str = "adain",
    ) -> None:
        super().__init__()
        self.dec = AdaptiveResBlocks(n_res, dim, res_norm, activ, pad_type)
        numbers = sum(2 * dim for module in self.dec.modules() if isinstance(module, AdaptiveNorm))
        self.mlp = Mlp(style_dim, numbers, mlp_dim, 3, activ)
        self.ResBlocks_AdaIN_tv = AdaptiveResBlocks(n_res, 4 * conv_dim, res_norm, activ, pad_type)
        self.main = nn.Sequential(*_down(3 + c_dim, conv_dim, repeat_num), self.ResBlocks_AdaIN_tv, *_up(conv_dim))

    def forward(self, x: Tensor, c: Tensor, style: Tensor) -> tuple[Tensor, None]:
        """Return the translation [B, 3, H, W] and None."""
        assign_adain(self.mlp(style), self.ResBlocks_AdaIN_tv)
        return self.main(torch.cat([x, spread(c, x)], 1)), None


class Discriminator(nn.Module):
    """Patch logits, domain logits and a regressed style.

    The MLP reads 32 numbers: `style_dim` maps of `image_size / 2**repeat_num` pixels a side, 8 of 2 x 2 by default.
    `output_dim` has no effect, as in the official code.
    """

    def __init__(
        self,
        image_size: int = 128,
        conv_dim: int = 64,
        c_dim: int = 5,
        repeat_num: int = 6,
        output_dim: int = STYLE_DIM,
        style_dim: int = STYLE_DIM,
    ) -> None:
        super().__init__()
        side = image_size // 2**repeat_num
        if style_dim * side**2 != MLP_INPUTS:
            raise ValueError(
                f"{repeat_num} halvings of {image_size} px leave {style_dim} maps of {side} x {side} px: they are not "
                f"the {MLP_INPUTS} numbers that the style is regressed from"
            )
        layers: list[nn.Module] = []
        for step in range(repeat_num):
            inputs = 3 if step == 0 else conv_dim * 2 ** (step - 1)
            layers += [nn.Conv2d(inputs, conv_dim * 2**step, 4, 2, 1), nn.LeakyReLU(0.01)]
        last = conv_dim * 2 ** (repeat_num - 1)
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(last, 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(last, c_dim, side, bias=False)
        self.conv3 = nn.Conv2d(last, style_dim, 3, 1, 1, bias=False)
        self.mlp = Mlp(MLP_INPUTS, style_dim, style_dim, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return patch logits [B, 1, h, h], domain logits [B, C] and the style [B, S] of an image, h 2 by default."""
        h = self.main(x)
        return self.conv1(h), self.conv2(h).flatten(1), self.mlp(self.conv3(h))


class StyleEncoder(Lines):
    """Defined in the official code and never used by its training: an image to a style [B, S, 1, 1]."""

    def __init__(
        self,
        n_downsample: int = 4,
        input_dim: int = 3,
        dim: int = 64,
        style_dim: int = STYLE_DIM,
        norm: str = "none",
        activ: str = "relu",
        pad_type: str = "reflect",
    ) -> None:
        layers: list[nn.Module] = [ConvBlock(input_dim, dim, 7, 1, 3, norm, activ, pad_type)]
        widths = [dim, 2 * dim, *[4 * dim] * max(1, n_downsample - 1)]  # never fewer than two halvings
        for a, b in pairwise(widths):
            layers.append(ConvBlock(a, b, 4, 2, 1, norm, activ, pad_type))
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(widths[-1], style_dim, 1))
