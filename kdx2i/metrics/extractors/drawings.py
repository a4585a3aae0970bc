"""The small feature network of the open drawings: six convolutions, a class head of each data set, one of damage.

It is trained by `kdx2i features` (`kdx2i.features`) and read by the extractor `open-drawings`.
"""

import torch.nn.functional as functional
from torch import Tensor, nn

WIDTHS = (24, 48, 64, 96, 128, 128)
STRIDES = (2, 2, 1, 2, 1, 1)
DIMENSION = WIDTHS[-1]


class DrawingNetwork(nn.Module):
    """Six convolutions with batch-norm and ReLU, mean pooling to 128 features, one linear layer.

    The linear layer has `outputs` classes; the last one is "degraded".
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        widths = (3, *WIDTHS)
        kernels = (5, *[3] * (len(WIDTHS) - 1))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            for before, after, kernel, stride in zip(widths, WIDTHS, kernels, STRIDES, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in WIDTHS)
        self.head = nn.Linear(DIMENSION, outputs)

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features (B, 128), none negative, of network inputs (B, 3, S, S) in [-1, 1]."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.relu(norm(convolution(x)), inplace=True)
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, outputs) of network inputs (B, 3, S, S) in [-1, 1]."""
        logits: Tensor = self.head(self.features(x))
        return logits
