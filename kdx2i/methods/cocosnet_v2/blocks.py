"""The building blocks of CoCosNet v2 (`models/networks/{architecture,normalization}.py` of microsoft/CoCosNet-v2).

Parameters carry the official names. Unlike SPADE's own, 3x3 convolutions reflect their borders and features are
normalised over channels. Features are [B, C, H, W]; conditions [B, N, R, R] of any size, resized by nearest neighbours.
"""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

HIDDEN = 128
"""Channels between the condition and the scale and shift of a SPADE layer, in the official code."""

NORM_G = "spectralspadesyncbatch3x3"
NORM_E = NORM_D = "spectralinstance"


def leaky(x: Tensor) -> Tensor:
    """Return the leaky ReLU with slope 0.2 of a tensor of any shape."""
    return F.leaky_relu(x, 0.2)


def feature_normalize(x: Tensor, eps: float = 1e-10) -> Tensor:
    """Return features [B, C, ...] divided by their L2 norm over channels."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / (norm + eps)


def positional_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Return features [B, C, H, W] with mean 0 and unbiased variance 1 over the channels of each position."""
    variance, mean = torch.var_mean(x, dim=1, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


def normalized(convolution: nn.Conv2d, norm: str) -> nn.Module:
    """Return a convolution as `norm` says: `spectral`, then `instance`, `batch`, `sync_batch` or nothing.

    With a norm behind it, it has no bias, and both are in an `nn.Sequential`. `ValueError` for another norm.
    """
    inner = norm.removeprefix("spectral")
    if inner not in ("", "none"):
        convolution.register_parameter("bias", None)
    layer: nn.Module = spectral_norm(convolution) if norm.startswith("spectral") else convolution
    channels = convolution.out_channels
    if inner in ("", "none"):
        return layer
    if inner == "instance":
        return nn.Sequential(layer, nn.InstanceNorm2d(channels))
    if inner in ("batch", "sync_batch"):
        return nn.Sequential(layer, nn.BatchNorm2d(channels))
    raise ValueError(f"there is no norm `{norm}`")


class PositionalNorm(nn.Module):
    """`positional_norm` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        return positional_norm(x)


class SpadeLayer(nn.Module):
    """A norm, then a scale and a shift that a small network computes from the condition.

    `norm` is the official text: `spade`, the norm without `pono`, the kernel.
    """

    def __init__(self, norm: str, channels: int, condition: int, *, pono: bool, hidden: int = HIDDEN) -> None:
        super().__init__()
        match = re.fullmatch(r"spade(instance|syncbatch|batch)(\d)x\d", norm)
        if match is None:
            raise ValueError(f"there is no SPADE layer `{norm}`")
        kernel = int(match[2])
        other = nn.InstanceNorm2d(channels) if match[1] == "instance" else nn.BatchNorm2d(channels)
        self.param_free_norm = PositionalNorm() if pono else other
        self.pad = nn.ReflectionPad2d(kernel // 2)
        self.mlp_shared = nn.Sequential(
            nn.ReflectionPad2d(kernel // 2), nn.Conv2d(condition, hidden, kernel), nn.ReLU()
        )
        self.mlp_gamma, self.mlp_beta = (nn.Conv2d(hidden, channels, kernel) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, C, H, W], condition [B, N, R, R] -> [B, C, H, W]."""
        hidden = self.pad(self.mlp_shared(F.interpolate(condition, size=x.shape[2:])))
        result: Tensor = self.param_free_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)
        return result


class SpadeBlock(nn.Module):
    """`SPADEResnetBlock`: two normalised convolutions beside the input, or beside a learned 1x1 where widths differ."""

    def __init__(
        self, inputs: int, outputs: int, condition: int, norm: str = NORM_G, *, pono: bool = True, hidden: int = HIDDEN
    ) -> None:
        super().__init__()
        middle, layer = min(inputs, outputs), norm.replace("spectral", "")

        def convolution(a: int, b: int, kernel: int, *, bias: bool = True) -> nn.Module:
            plain = nn.Conv2d(a, b, kernel, bias=bias)
            return spectral_norm(plain) if "spectral" in norm else plain

        self.pad = nn.ReflectionPad2d(1)
        self.conv_0, self.conv_1 = convolution(inputs, middle, 3), convolution(middle, outputs, 3)
        self.norm_0 = SpadeLayer(layer, inputs, condition, pono=pono, hidden=hidden)
        self.norm_1 = SpadeLayer(layer, middle, condition, pono=pono, hidden=hidden)
        self.learned = inputs != outputs
        if self.learned:
            self.conv_s = convolution(inputs, outputs, 1, bias=False)
            self.norm_s = SpadeLayer(layer, inputs, condition, pono=pono, hidden=hidden)

    def shortcut(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, I, H, W], condition [B, N, R, R] -> [B, O, H, W]: normalised but not activated, or the input."""
        if not self.learned:
            return x
        result: Tensor = self.conv_s(self.norm_s(x, condition))
        return result

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[B, I, H, W], condition [B, N, R, R] -> [B, O, H, W]."""
        y = self.conv_0(self.pad(leaky(self.norm_0(x, condition))))
        y = self.conv_1(self.pad(leaky(self.norm_1(y, condition))))
        result: Tensor = self.shortcut(x, condition) + y
        return result


class ResidualBlock(nn.Module):
    """Two convolutions with instance norms; one PReLU, under two official keys, stands between them and at the end."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.relu = nn.PReLU()
        first, second = (nn.Conv2d(channels, channels, 3) for _ in range(2))
        norms = [nn.InstanceNorm2d(channels) for _ in range(2)]
        pads = [nn.ReflectionPad2d(1) for _ in range(2)]
        self.model = nn.Sequential(pads[0], first, norms[0], self.relu, pads[1], second, norms[1])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        result: Tensor = self.relu(x + self.model(x))
        return result


@torch.no_grad()
def initialise_weights(network: nn.Module, gain: float = 0.02) -> None:
    """Draw weights as `init_weights` does: convolutions Xavier-normal, batch norms N(1, gain), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            # With spectral norm `weight` is divided at each call from `weight_orig`, which is what is drawn.
            nn.init.xavier_normal_(getattr(module, "weight_orig", module.weight), gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
