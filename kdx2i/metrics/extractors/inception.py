"""The forward pass of torch-fidelity's and torchvision's Inception networks with fewer steps, for inference only.

Each ReLU runs inside its convolution, on weights in the layout that oneDNN wants. In torch-fidelity's the average pools
come after their 1 x 1 convolutions, not before: each of their windows is a mean with weights that sum to 1, so the two
commute (bias included), and fewer channels are pooled. torchvision's windows count the padding, so there they do not.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

Activation = Literal["none", "relu", "relu6"]
# The branches of each block, by the names of both libraries' layers; `a|b` are two layers on the same input.
_BRANCHES = {
    "InceptionA": ("branch1x1", "branch5x5_1 branch5x5_2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3"),
    "InceptionB": ("branch3x3", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3"),
    "InceptionC": (
        "branch1x1",
        "branch7x7_1 branch7x7_2 branch7x7_3",
        "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5",
    ),
    "InceptionD": ("branch3x3_1 branch3x3_2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4"),
    "InceptionE_1": (
        "branch1x1",
        "branch3x3_1 branch3x3_2a|branch3x3_2b",
        "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a|branch3x3dbl_3b",
    ),
}
_BRANCHES["InceptionE_2"] = _BRANCHES["InceptionE"] = _BRANCHES["InceptionE_1"]


class Convolution(nn.Module):
    """A convolution and its activation: through oneDNN's fused operator on a CPU that has it."""

    def __init__(self, convolution: nn.Conv2d, activation: Activation = "relu") -> None:
        super().__init__()
        self.convolution, self.activation = convolution, activation
        self._packed: dict[tuple[int, ...], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (B, C', H', W') for x (B, C, H, W)."""
        layer = self.convolution
        if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            y: Tensor = layer(x)
            return y if self.activation == "none" else y.clamp_(0.0, 6.0 if self.activation == "relu6" else None)
        padding = getattr(layer, "static_padding", None)  # EfficientNet's layers have one, unlike on both sides
        x = x if padding is None else padding(x)
        shape = tuple(x.shape)
        geometry = list(layer.padding), list(layer.stride), list(layer.dilation), layer.groups
        if shape not in self._packed:
            self._packed = {shape: torch.ops.mkldnn._reorder_convolution_weight(layer.weight, *geometry, shape)}
        kind = "hardtanh" if self.activation == "relu6" else self.activation
        numbers = [0.0, 6.0] if self.activation == "relu6" else []
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._packed[shape], layer.bias, *geometry, kind, numbers, ""
        )
        return fused


class Mixed(nn.Module):
    """One block of the network: its branches side by side; `padded`: average pools count the padding."""

    def __init__(self, block: nn.Module, *, padded: bool = False) -> None:
        super().__init__()
        kind = type(block).__name__
        layers: dict[str, Any] = dict(block.named_children())
        self.layers = nn.ModuleDict(
            {
                name: Convolution(layer.conv, "none" if name == "branch_pool" and not padded else "relu")
                for name, layer in layers.items()
            }
        )
        self.branches = [[step.split("|") for step in branch.split()] for branch in _BRANCHES[kind]]
        self.average = kind != "InceptionE_2"
        self.padded = padded

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, C', H', W') for x (B, C, H, W)."""
        layers = []
        for branch in self.branches:
            y = x
            for step in branch:
                parts = [self.layers[name](y) for name in step]
                y = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
            layers.append(y)
        if "branch_pool" not in self.layers:
            layers.append(functional.max_pool2d(x, 3, stride=2))
        elif self.padded:
            layers.append(self.layers["branch_pool"](functional.avg_pool2d(x, 3, stride=1, padding=1)))
        elif self.average:
            y = self.layers["branch_pool"](x)
            layers.append(functional.avg_pool2d(y, 3, stride=1, padding=1, count_include_pad=False).relu_())
        else:
            layers.append(self.layers["branch_pool"](functional.max_pool2d(x, 3, stride=1, padding=1)).relu_())
        return torch.cat(layers, 1)
