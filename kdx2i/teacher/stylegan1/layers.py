"""The layers of StyleGAN-1 as rosinality/style-based-gan-pytorch (`model.py`) has them, under its parameter names.

DeepI2I's two-class variant and its released weights use this form. Weights are stored with unit variance and
scaled by sqrt(2 / fan_in) in use; activations are leaky ReLUs of slope 0.2 without gain.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2


class Scaled(nn.Module):
    """Weight (stored as `weight_orig`) and bias of an equalised layer; calls a convolution or a linear layer."""

    def __init__(self, *shape: int, padding: int = 0) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0]))
        self.padding = padding
        self.gain = math.sqrt(2.0 / math.prod(shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] or [B, I] -> [B, O, H', W'] or [B, O]."""
        weight = self.weight_orig * self.gain
        return F.conv2d(x, weight, self.bias, padding=self.padding) if x.ndim == 4 else F.linear(x, weight, self.bias)


class EqualConv2d(nn.Module):
    """Equalised convolution."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0) -> None:
        super().__init__()
        self.conv = Scaled(out_channels, in_channels, kernel_size, kernel_size, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H', W']."""
        y: Tensor = self.conv(x)
        return y


class EqualLinear(nn.Module):
    """Equalised linear layer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = Scaled(out_features, in_features)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I] -> [B, O]."""
        y: Tensor = self.linear(x)
        return y


class Blur(nn.Module):
    """Depthwise binomial 3x3 filter with zero padding; the mirrored kernel is a second buffer, as officially."""

    weight: Tensor
    weight_flip: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4.0
        kernel = torch.outer(taps, taps).expand(channels, 1, 3, 3).clone()
        self.register_buffer("weight", kernel)
        self.register_buffer("weight_flip", kernel.flip(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        return F.conv2d(x, self.weight.to(x.dtype), padding=1, groups=x.shape[1])


class FusedResample(nn.Module):
    """3x3 convolution and a factor of two in one 4x4 kernel, the mean of the four shifts of the 3x3 one.

    `up` doubles the size (weight [I, O, 3, 3]), else it is halved (weight [O, I, 3, 3]).
    """

    def __init__(self, in_channels: int, out_channels: int, *, up: bool) -> None:
        super().__init__()
        shape = (in_channels, out_channels) if up else (out_channels, in_channels)
        self.weight = nn.Parameter(torch.randn(*shape, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.gain, self.up = math.sqrt(2.0 / (in_channels * 9)), up

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, 2H, 2W] or [B, O, H/2, W/2]."""
        # Averaging a zero-padded kernel with its shifts is average pooling with stride 1.
        weight = F.avg_pool2d(self.weight * self.gain, 2, stride=1, padding=1)
        resample = F.conv_transpose2d if self.up else F.conv2d
        return resample(x, weight, self.bias, stride=2, padding=1)


class NoiseInjection(nn.Module):
    """Adds one noise map to every channel, each with its own learned strength."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gain = math.sqrt(2.0 / channels)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """x [B, C, H, W], noise [B, 1, H, W]."""
        return x + (self.weight_orig * self.gain * noise).to(x.dtype)


class AdaptiveInstanceNorm(nn.Module):
    """Instance normalisation whose scale and shift come from the style: gamma norm(x) + beta."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.style = EqualLinear(style_dim, 2 * channels)
        with torch.no_grad():
            self.style.linear.bias[:channels] = 1.0

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x [B, C, H, W], style [B, S] -> [B, C, H, W]."""
        gamma, beta = self.style(style)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = gamma * F.instance_norm(x) + beta
        return out


class ConstantInput(nn.Module):
    """The learned 4x4 start of the generator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))

    def forward(self, batch: int) -> Tensor:
        """Return the constant [batch, C, 4, 4]."""
        return self.input.expand(batch, -1, -1, -1)


class StyledConvBlock(nn.Module):
    """One resolution of the generator: (up-)convolution, then noise, leaky ReLU and AdaIN, twice."""

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, *, initial: bool, fused: bool) -> None:
        super().__init__()
        self.initial = initial
        self.conv1: nn.Module
        if initial:
            self.conv1 = ConstantInput(in_channels)
        elif fused:
            self.conv1 = nn.Sequential(FusedResample(in_channels, out_channels, up=True), Blur(out_channels))
        else:
            enlarge = nn.Upsample(scale_factor=2, mode="nearest")
            self.conv1 = nn.Sequential(enlarge, EqualConv2d(in_channels, out_channels, 3, 1), Blur(out_channels))
        self.noise1 = NoiseInjection(out_channels)
        self.adain1 = AdaptiveInstanceNorm(out_channels, style_dim)
        self.conv2 = EqualConv2d(out_channels, out_channels, 3, 1)
        self.noise2 = NoiseInjection(out_channels)
        self.adain2 = AdaptiveInstanceNorm(out_channels, style_dim)

    def forward(self, x: Tensor | None, style: Tensor, noise: Tensor | None) -> Tensor:
        """x [B, I, H, W] (None at 4 px), style [B, S], one noise map [B, 1, 2H, 2W] for both layers, or none."""
        y: Tensor = self.conv1(len(style) if self.initial else x)
        y = y if noise is None else self.noise1(y, noise)
        y = self.conv2(self.adain1(F.leaky_relu(y, SLOPE), style))
        y = y if noise is None else self.noise2(y, noise)
        out: Tensor = self.adain2(F.leaky_relu(y, SLOPE), style)
        return out


class ConvBlock(nn.Module):
    """Two convolutions with leaky ReLUs; with `downsample`, blur and a halved size in the second one.

    `last` is the discriminator's final block: its second convolution is 4x4 without padding.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        downsample: bool = False,
        fused: bool = False,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(in_channels, out_channels, 3, 1), nn.LeakyReLU(SLOPE))
        layers: list[nn.Module]
        if downsample and fused:
            layers = [Blur(out_channels), FusedResample(out_channels, out_channels, up=False)]
        elif downsample:
            layers = [Blur(out_channels), EqualConv2d(out_channels, out_channels, 3, 1), nn.AvgPool2d(2)]
        elif last:
            layers = [EqualConv2d(out_channels, out_channels, 4)]
        else:
            layers = [EqualConv2d(out_channels, out_channels, 3, 1)]
        self.conv2 = nn.Sequential(*layers, nn.LeakyReLU(SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H', W']."""
        y: Tensor = self.conv2(self.conv1(x))
        return y
