"""The operators of StyleGAN2: equalised layers, FIR resampling and modulated convolution.

Sources of the definitions: `torch_utils/ops/` and `training/networks.py` of NVlabs/stylegan2-ada-pytorch,
`op/` and `model.py` of rosinality/stylegan2-pytorch. Tensors are [batch, channels, height, width].
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2


def fir_kernel() -> Tensor:
    """Return the normalised 4x4 low-pass kernel, the outer product of (1, 3, 3, 1)/8 with itself."""
    taps = (0.125, 0.375, 0.375, 0.125)
    return torch.tensor([[row * column for column in taps] for row in taps])


def filter2d(x: Tensor, kernel: Tensor, *, pad: tuple[int, int], stride: int = 1, gain: float = 1.0) -> Tensor:
    """Filter every channel of x [B, C, H, W] with a symmetric kernel [4, 4].

    `pad` is (before, after) in both directions; the sides become (side + before + after - 4) // stride + 1.
    """
    channels = x.shape[1]
    weight = (kernel.to(x.dtype) * gain)[None, None].expand(channels, 1, -1, -1)
    if pad[0] == pad[1]:
        return F.conv2d(x, weight, stride=stride, padding=pad[0], groups=channels)
    return F.conv2d(F.pad(x, (pad[0], pad[1], pad[0], pad[1])), weight, stride=stride, groups=channels)


def upsample2d(x: Tensor, kernel: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W]: zeros are inserted after each pixel, then the FIR kernel times 4."""
    batch, channels, height, width = x.shape
    spread = x.new_zeros(batch, channels, height, 2, width, 2)
    spread[:, :, :, 0, :, 0] = x
    return filter2d(spread.reshape(batch, channels, 2 * height, 2 * width), kernel, pad=(2, 1), gain=4.0)


def bias_act(
    x: Tensor, bias: Tensor | None, *, activation: str, gain: float = 1.0, clamp: float | None = None
) -> Tensor:
    """Add a bias [C] to [B, C, ...], apply `lrelu` (slope 0.2, times sqrt 2) or `linear`, multiply by `gain`, clamp.

    x [B, C] or [B, C, H, W], bias [C] -> the shape of x. The clamp limit is multiplied by `gain`, as the official
    layers do.
    """
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *([1] * (x.ndim - 2)))
    if activation == "lrelu":
        x = F.leaky_relu(x, SLOPE)
        gain_total = gain * math.sqrt(2.0)
    else:
        gain_total = gain
    if gain_total != 1.0:
        x = x * gain_total
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


class EqualizedLinear(nn.Module):
    """Linear layer whose weight ~ N(0, 1)/lr_multiplier is scaled at run time (equalised learning rate).

    [batch, in] -> [batch, out]; `activation` is `linear` or `lrelu`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_multiplier))
        self.activation = activation
        self.lr_multiplier = lr_multiplier
        self.weight_gain = lr_multiplier / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I] -> [B, O]."""
        y = F.linear(x, (self.weight * self.weight_gain).to(x.dtype))
        return bias_act(y, self.bias * self.lr_multiplier, activation=self.activation)


class EqualizedConv2d(nn.Module):
    """Convolution with equalised learning rate, optional FIR down-sampling by two, and activation.

    `kernel_size` is 1 or 3; down-sampling filters first and then convolves with stride 2.
    """

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activation: str = "linear",
        down: bool = False,
        up: bool = False,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", fir_kernel())
        self.kernel_size, self.activation, self.down, self.up = kernel_size, activation, down, up
        self.conv_clamp = conv_clamp
        self.weight_gain = 1.0 / math.sqrt(in_channels * kernel_size**2)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """[B, I, H, W] -> [B, O, H', W']; `gain` multiplies the output and the clamp limit."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        if self.down and self.kernel_size == 1:
            x = F.conv2d(filter2d(x, self.resample_filter, pad=(1, 1), stride=2), weight)
        elif self.down:
            x = F.conv2d(filter2d(x, self.resample_filter, pad=(2, 2)), weight, stride=2)
        elif self.up:
            x = upsample2d(F.conv2d(x, weight), self.resample_filter)
        else:
            x = F.conv2d(x, weight, padding=self.kernel_size // 2)
        return bias_act(x, self.bias, activation=self.activation, gain=gain, clamp=self.conv_clamp)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool,
    kernel: Tensor | None = None,
    weight_gain: float = 1.0,
) -> Tensor:
    """Convolve each sample with its own modulated weight (Karras et al. 2020, section 2.2).

    x [B, I, H, W], weight [O, I, k, k], styles [B, I]. The activations are scaled before and after one
    shared convolution, which is the same function as B convolutions with scaled weights and far faster.
    `kernel` (FIR) asks for up-sampling by two. `weight_gain` multiplies the weight before the epsilon of
    the demodulation (rosinality's equalised weight); NVIDIA's layers use 1.
    """
    scaled = weight * weight_gain
    x = x * styles[:, :, None, None].to(x.dtype)
    if kernel is None:
        x = F.conv2d(x, scaled.to(x.dtype), padding=weight.shape[-1] // 2)
    else:
        x = F.conv_transpose2d(x, scaled.transpose(0, 1).to(x.dtype), stride=2)
        x = filter2d(x, kernel, pad=(1, 1), gain=4.0)
    if demodulate:
        energy = F.linear(styles.square(), scaled.square().sum(dim=(2, 3)))
        x = x * torch.rsqrt(energy + 1e-8)[:, :, None, None].to(x.dtype)
    return x


def minibatch_stddev(x: Tensor, group_size: int | None, num_channels: int) -> Tensor:
    """Append `num_channels` channels with the standard deviation over interleaved groups of samples.

    Sample i is in group i mod (B / G), G = min(group_size, B) (None: the whole batch); B must be a multiple
    of G. [B, C, H, W] -> [B, C + num_channels, H, W].
    """
    batch, channels, height, width = x.shape
    group = batch if group_size is None else min(group_size, batch)
    y = x.reshape(group, -1, num_channels, channels // num_channels, height, width)
    y = y - y.mean(dim=0)
    y = (y.square().mean(dim=0) + 1e-8).sqrt().mean(dim=(2, 3, 4))
    y = y.reshape(-1, num_channels, 1, 1).repeat(group, 1, height, width)
    return torch.cat([x, y.to(x.dtype)], dim=1)
