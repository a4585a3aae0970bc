"""The building blocks of DRIT and MDMM (`networks.py` of both, MDMM at 18360fe), with the official names.

Convolutions pad by reflection and have biases.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.shared_layers import LayerNorm, Lines, spread
from kdx2i.training import distributed


def padded(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    """Return reflection padding and a convolution."""
    return [nn.ReflectionPad2d(padding), nn.Conv2d(inputs, outputs, kernel, stride)]


class SpectralConv2d(nn.Conv2d):
    """A convolution that its largest singular value divides, estimated by one power iteration a forward pass.

    Unlike torch's own it keeps the divided weight as the buffer `weight`, which evaluation uses as it is.
    """

    weight_u: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride)
        start = self.weight.detach().clone()
        del self.weight
        self.weight_orig = nn.Parameter(start)
        self.register_buffer("weight", start.clone())
        self.register_buffer("weight_u", F.normalize(torch.randn(outputs), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, h, w]."""
        weight = self.weight
        if self.training:
            matrix = self.weight_orig.flatten(1)
            with torch.no_grad():
                v = F.normalize(matrix.T @ self.weight_u, dim=0)
                u = F.normalize(matrix @ v, dim=0)
                self.weight_u.copy_(u)
            weight = self.weight_orig / (u @ (matrix @ v))
            self.weight.copy_(weight.detach())
        result: Tensor = self._conv_forward(x, weight, self.bias)
        return result


class LeakyConv(Lines):
    """Convolution, LeakyReLU 0.01 (`LeakyReLUConv2d`); its official switch for a norm has no effect."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, *, spectral: bool = False
    ) -> None:
        kind = SpectralConv2d if spectral else nn.Conv2d
        conv = kind(inputs, outputs, kernel, stride)
        super().__init__(nn.ReflectionPad2d(padding), conv, nn.LeakyReLU(0.01, inplace=True))


class NormConv(Lines):
    """Convolution, instance norm, ReLU (`ReLUINSConv2d`)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> None:
        conv = padded(inputs, outputs, kernel, stride, padding)
        super().__init__(*conv, nn.InstanceNorm2d(outputs), nn.ReLU(inplace=True))


class ResBlock(Lines):
    """Two 3x3 convolutions with instance norm, ReLU after the first only, plain sum (`INSResBlock`)."""

    def __init__(self, channels: int) -> None:
        first = [*padded(channels, channels, 3, 1, 1), nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
        super().__init__(*first, *padded(channels, channels, 3, 1, 1), nn.InstanceNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        return x + super().forward(x)


class UpConv(Lines):
    """A transposed 3x3 convolution that doubles the size, layer norm, ReLU (`ReLUINSConvTranspose2d`)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
        super().__init__(conv, LayerNorm(outputs), nn.ReLU(inplace=True))


class FeatureWiseBlock(nn.Module):
    """Twice [conv3, instance norm, then with the code: conv1 - ReLU - conv1 - ReLU], plain sum (`MisINSResBlock`)."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Sequential(nn.Sequential(*padded(channels, channels, 3, 1, 1)), nn.InstanceNorm2d(channels))
            for _ in range(2)
        )
        both = channels + code
        self.blk1, self.blk2 = (
            nn.Sequential(nn.Conv2d(both, both, 1), nn.ReLU(), nn.Conv2d(both, channels, 1), nn.ReLU())
            for _ in range(2)
        )

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """x [B, C, H, W], code [B, N] -> [B, C, H, W]."""
        h = self.conv1(x)
        h = self.conv2(self.blk1(torch.cat([h, spread(code, h)], 1)))
        result: Tensor = x + self.blk2(torch.cat([h, spread(code, h)], 1))
        return result


def activation(name: str) -> nn.Module:
    """Return `lrelu`, `relu` or `elu`; the last two overwrite what they are given, as in the official code."""
    overwriting: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU}
    return nn.LeakyReLU(0.2) if name == "lrelu" else overwriting[name](inplace=True)


def norms(name: str | None, channels: int) -> list[nn.Module]:
    """Return the norm in front of an activation: `instance`, `batch`, or nothing (`none`, None)."""
    if name is None or name == "none":
        return []
    kinds: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
    return [kinds[name](channels)]


class DownBlock(nn.Module):
    """A pre-activation residual block that halves the size (`BasicBlock`), without norms in the authors' runs."""

    def __init__(self, inputs: int, outputs: int, norm: str | None = None, nl: str = "lrelu") -> None:
        super().__init__()
        last = nn.Sequential(*padded(inputs, outputs, 3, 1, 1), nn.AvgPool2d(2))
        first = [*norms(norm, inputs), activation(nl), *padded(inputs, inputs, 3, 1, 1)]
        self.conv = nn.Sequential(*first, *norms(norm, inputs), activation(nl), last)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H / 2, W / 2]."""
        result: Tensor = self.conv(x) + self.shortcut(x)
        return result


class Noise(nn.Module):
    """Add N(0, 1) in training mode (`GaussianNoiseLayer`), drawn for the joint batch of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        if not self.training:
            return x
        joint = x.shape[0] * distributed.world_size()
        return x + distributed.shard(torch.randn(joint, *x.shape[1:], dtype=x.dtype, device=x.device))


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Draw convolution weights from N(0, 0.02); linear layers and biases keep torch's start."""
    for module in network.modules():
        if isinstance(module, SpectralConv2d):
            module.weight_orig.normal_(0.0, 0.02)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.normal_(0.0, 0.02)
