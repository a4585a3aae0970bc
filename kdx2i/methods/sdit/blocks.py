"""The building blocks of SDIT (`model.py` of yaxingwang/SDIT at 73015f9), with the official parameter names."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.shared_layers import Lines

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "selu": nn.SELU, "prelu": nn.PReLU}


def activation(name: str) -> nn.Module | None:
    """Return the activation of that name, None for `none`."""
    if name == "none":
        return None
    return nn.LeakyReLU(0.2) if name == "lrelu" else ACTIVATIONS[name]()


def instance_norm(channels: int) -> nn.Module:
    """Return the instance norm with running statistics that encoder and decoder use."""
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)


def _pad(kind: str, width: int) -> nn.Module:
    pads = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d, "zero": nn.ZeroPad2d}
    return pads[kind](width)  # type: ignore[no-any-return]


class Linear(nn.Module):
    """A fully connected layer `fc` with an activation."""

    def __init__(self, inputs: int, outputs: int, activ: str) -> None:
        super().__init__()
        self.fc, self.activation = nn.Linear(inputs, outputs), activation(activ)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I] -> [B, O]."""
        x = self.fc(x)
        return x if self.activation is None else self.activation(x)


class Mlp(Lines):
    """`blocks` layers, the last one without activation: [B, ...] is flattened to [B, I] -> [B, O]."""

    def __init__(self, inputs: int, outputs: int, dim: int, blocks: int, activ: str = "relu") -> None:
        widths = [inputs, *[dim] * (blocks - 1), outputs]
        kinds = [*[activ] * (blocks - 1), "none"]
        super().__init__(*(Linear(a, b, kind) for (a, b), kind in zip(pairwise(widths), kinds, strict=True)))

    def forward(self, x: Tensor) -> Tensor:
        """Flatten and map."""
        return super().forward(x.flatten(1))


class AdaptiveNorm(nn.Module):
    """AdaIN: every image's own statistics, then weight and bias [B * C] that are set before the call.

    The buffers are in official checkpoints and have no effect.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        assert self.weight is not None and self.bias is not None, "the AdaIN parameters were not set"
        b, c = x.shape[:2]
        normal = F.instance_norm(x, eps=1e-5)
        return normal * self.weight.reshape(b, c, 1, 1) + self.bias.reshape(b, c, 1, 1)


NORMS: dict[str, type[nn.Module] | None] = {
    "adain": AdaptiveNorm, "in": nn.InstanceNorm2d, "bn": nn.BatchNorm2d, "none": None,
}  # fmt: skip
"""The norms that run officially; `ln` and `sn` name classes that the official file does not have."""


class ConvBlock(nn.Module):
    """Padding, convolution with bias, optional norm (`NORMS`), activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, norm: str, activ: str, pad: str
    ) -> None:
        super().__init__()
        self.pad = _pad(pad, padding)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride)
        kind = NORMS[norm]
        self.norm = None if kind is None else kind(outputs)
        self.activation = activation(activ)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H / stride, W / stride]."""
        x = self.conv(self.pad(x))
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)


class AdaptiveResBlock(Lines):
    """Two 3x3 convolutions with AdaIN, the activation after the first only, plain sum."""

    def __init__(self, dim: int, norm: str, activ: str, pad: str) -> None:
        super().__init__(*(ConvBlock(dim, dim, 3, 1, 1, norm, kind, pad) for kind in (activ, "none")))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        return x + super().forward(x)


class AdaptiveResBlocks(Lines):
    """A stack of `count` AdaIN residual blocks."""

    def __init__(self, count: int, dim: int, norm: str, activ: str, pad: str) -> None:
        super().__init__(*(AdaptiveResBlock(dim, norm, activ, pad) for _ in range(count)))


def assign_adain(numbers: Tensor, stack: nn.Module) -> None:
    """Hand the MLP's numbers [B, P] to the AdaIN layers of a stack, in the official order: bias, then weight.

    The MLP is sized for a narrower stack. The official code advances only while numbers are left beyond a
    layer's own, so the last slice serves all remaining layers; trained weights depend on it.
    """
    for module in stack.modules():
        if isinstance(module, AdaptiveNorm):
            c = module.get_buffer("running_mean").numel()
            module.bias = numbers[:, :c].reshape(-1)
            module.weight = numbers[:, c : 2 * c].reshape(-1)
            if numbers.shape[1] > 2 * c:
                numbers = numbers[:, 2 * c :]


class ResBlock(nn.Module):
    """conv3 - norm - ReLU - conv3 - norm, plain sum."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(dim, dim, 3, 1, 1, bias=False) for _ in range(2))
        self.main = nn.Sequential(first, instance_norm(dim), nn.ReLU(inplace=True), second, instance_norm(dim))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        result: Tensor = x + self.main(x)
        return result
