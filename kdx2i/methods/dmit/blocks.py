"""The building blocks of DMIT (`models/modules` of Xiaoming-Yu/DMIT at 311cb43), with the official names.

Every convolution and linear layer is spectrally normalised with one power iteration; convolutions pad by
reflection. Codes are [B, N]: domain, or domain and style.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from kdx2i.methods.shared_layers import LayerNorm

SLOPE = 0.2
LARGEST_WIDTH = 512
LARGEST_STYLE_WIDTH = 256
LARGEST_CONTENT_WIDTH = 1024


def instance_norm(channels: int) -> nn.Module:
    """Return an instance norm without parameters and without running statistics."""
    return nn.InstanceNorm2d(channels)


def leaky() -> nn.Module:
    """Return the activation of encoders and discriminators."""
    return nn.LeakyReLU(SLOPE, inplace=True)


class CentralBiasing(nn.Module):
    """CBIN (`cbin.py`): an instance norm whose channels are shifted by tanh of a linear map of the code."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.ConBias = nn.Sequential(spectral_norm(nn.Linear(code, channels)), nn.Tanh())

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """x [B, C, H, W], code [B, N] -> [B, C, H, W]."""
        shift: Tensor = self.ConBias(code)
        return F.instance_norm(x, eps=1e-5) + shift[:, :, None, None]


class ConvBlock(nn.Module):
    """Reflection padding, convolution, optional norm and activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        padding: int,
        *,
        norm: Callable[[int], nn.Module] | None = None,
        activation: Callable[[], nn.Module] | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(padding)
        self.conv = spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, bias=bias))
        self.norm = nn.Identity() if norm is None else norm(outputs)
        self.activation = nn.Identity() if activation is None else activation()

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H / stride, W / stride]."""
        result: Tensor = self.activation(self.norm(self.conv(self.pad(x))))
        return result


class Shortcut(nn.Sequential):
    """Half the size, then a 1x1 convolution with bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.AvgPool2d(2), ConvBlock(inputs, outputs, 1, 1, 0, bias=True))


class ResBlock(nn.Module):
    """Two 3x3 convolutions with norm, the activation after the first only, plain sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first = ConvBlock(channels, channels, 3, 1, 1, norm=instance_norm, activation=leaky)
        self.encode = nn.Sequential(first, ConvBlock(channels, channels, 3, 1, 1, norm=instance_norm))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        result: Tensor = x + self.encode(x)
        return result


class DownBlock(nn.Module):
    """A pre-activation residual block that halves the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        first = ConvBlock(inputs, inputs, 3, 1, 1, norm=instance_norm, activation=leaky)
        second = ConvBlock(inputs, outputs, 3, 1, 1)
        self.encode = nn.Sequential(instance_norm(inputs), leaky(), first, second, nn.AvgPool2d(2))
        self.shortcut = Shortcut(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H / 2, W / 2]."""
        result: Tensor = self.encode(x) + self.shortcut(x)
        return result


class ConditionalDownBlock(nn.Module):
    """A pre-activation residual block with CBIN that halves the size."""

    def __init__(self, inputs: int, outputs: int, code: int) -> None:
        super().__init__()
        self.cnorm1 = CentralBiasing(inputs, code)
        self.conv1 = ConvBlock(inputs, inputs, 3, 1, 1)
        self.cnorm2 = CentralBiasing(inputs, code)
        self.activation = nn.LeakyReLU(SLOPE)
        self.cmp = nn.Sequential(ConvBlock(inputs, outputs, 3, 1, 1), nn.AvgPool2d(2))
        self.shortcut = Shortcut(inputs, outputs)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """x [B, I, H, W], code [B, N] -> [B, O, H / 2, W / 2]."""
        h = self.conv1(self.activation(self.cnorm1(x, code)))
        result: Tensor = self.cmp(self.activation(self.cnorm2(h, code))) + self.shortcut(x)
        return result


class ConditionalResBlock(nn.Module):
    """conv3 - CBIN - ReLU - conv3 - CBIN (- dropout), plain sum."""

    def __init__(self, channels: int, code: int, *, dropout: bool) -> None:
        super().__init__()
        self.c1 = ConvBlock(channels, channels, 3, 1, 1)
        self.n1 = CentralBiasing(channels, code)
        self.activation = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5) if dropout else nn.Identity()
        self.c2 = ConvBlock(channels, channels, 3, 1, 1)
        self.n2 = CentralBiasing(channels, code)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """x [B, C, H, W], code [B, N] -> [B, C, H, W]."""
        h = self.activation(self.n1(self.c1(x), code))
        result: Tensor = x + self.dropout(self.n2(self.c2(h), code))
        return result


class TransposedConv(nn.Module):
    """A transposed 4x4 convolution that doubles the size, layer norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.trConv = spectral_norm(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))
        self.norm = LayerNorm(outputs)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, 2 H, 2 W]."""
        result: Tensor = self.activation(self.norm(self.trConv(x)))
        return result


class UpBlock(nn.Module):
    """Doubling of the size by `transpose`, `nearest` or `pixelshuffle`."""

    def __init__(self, inputs: int, outputs: int, kind: str) -> None:
        super().__init__()
        if kind == "transpose":
            self.upsample: nn.Module = TransposedConv(inputs, outputs)
        elif kind == "nearest":
            conv = ConvBlock(inputs, outputs, 3, 1, 1, norm=LayerNorm, activation=nn.ReLU)
            self.upsample = nn.Sequential(nn.Upsample(scale_factor=2), conv)
        elif kind == "pixelshuffle":
            conv = ConvBlock(inputs, 4 * outputs, 3, 1, 1, norm=LayerNorm, activation=nn.ReLU)
            self.upsample = nn.Sequential(conv, nn.PixelShuffle(2))
        else:
            raise ValueError(f"up_type `{kind}` is none of transpose, nearest, pixelshuffle")

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, 2 H, 2 W]."""
        result: Tensor = self.upsample(x)
        return result
