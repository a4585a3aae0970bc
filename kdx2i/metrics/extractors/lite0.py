"""The forward pass of the packaged EfficientNet-lite0 with fewer steps, for inference only.

Each ReLU6 runs inside its convolution. The first blocks, whose maps are large, run on a few images at a time on a
CPU: what one layer writes is then still near the processor when the next one reads it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from kdx2i.metrics.extractors.inception import Convolution

_EARLY, _PART = 3, 8  # blocks that run on parts, and images in a part


class Block(nn.Module):
    """One inverted residual block, whose batch-norms are folded into its convolutions."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        sizes = block._block_args
        names = ["_depthwise_conv"] if sizes.expand_ratio == 1 else ["_expand_conv", "_depthwise_conv"]
        layers = [Convolution(getattr(block, name), "relu6") for name in names]
        self.layers = nn.Sequential(*layers, Convolution(block._project_conv, "none"))
        self.skip = block.id_skip and sizes.stride == 1 and sizes.input_filters == sizes.output_filters

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, C', H', W')."""
        y: Tensor = self.layers(x)
        return y.add_(x) if self.skip else y


class Lite0(nn.Module):
    """The network, made of the layers of the packaged one, whose batch-norms are folded."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        blocks = [Block(block) for block in network._blocks]
        self.early = nn.Sequential(Convolution(network._conv_stem, "relu6"), *blocks[:_EARLY])
        self.late = nn.Sequential(*blocks[_EARLY:], Convolution(network._conv_head, "relu6"))
        self._fc: nn.Linear = network._fc

    def extract_features(self, x: Tensor) -> Tensor:
        """Return the last maps (B, 1280, S / 32, S / 32) of network inputs (B, 3, S, S)."""
        parts = torch.split(x, _PART if x.device.type == "cpu" else len(x))
        features: Tensor = self.late(torch.cat([self.early(part) for part in parts]))
        return features
