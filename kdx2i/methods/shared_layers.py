"""Layers that networks of several architectures share, with the parameter names of their official code."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Lines(nn.Module):
    """The holder `model` that official parts keep their layers in, one after the other."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers on [B, C, H, W], or on what the first one takes."""
        result: Tensor = self.model(x)
        return result


class LayerNorm(nn.Module):
    """Normalise each image over (C, H, W), then scale and shift each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        return F.layer_norm(x, x.shape[1:], eps=1e-5) * self.weight + self.bias


def spread(code: Tensor, like: Tensor) -> Tensor:
    """Return a code [B, N] as maps [B, N, H, W] of the size and type of `like` [B, C, H, W]."""
    return code[:, :, None, None].expand(-1, -1, *like.shape[2:]).to(like.dtype)
