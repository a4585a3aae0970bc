"""Matches as flat indices and as offsets (`models/networks/ops.py` of microsoft/CoCosNet-v2).

A match is the position in the exemplar's square feature map that a position of the map is warped from. Offsets are
rows and columns [B, K, S, S] of K candidates, relative to the own position; indices are row * S + column.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.methods.cocosnet_v2.blocks import feature_normalize

WINDOW, CENTRE, DILATION = 4, 1, 2
"""The search window around an upsampled match: 4 x 4 candidates, {-1, 0, 1, 2} times 2 apart."""

CANDIDATES = WINDOW**2

Offsets = tuple[Tensor, Tensor]
"""Rows and columns, each [B, K, S, S]."""


def centred(features: Tensor, kernel: int = 1, *, over_channels: bool = True) -> Tensor:
    """Return features [B, C, H, W] minus their mean and divided by their norm over channels.

    The mean is that of each position over channels, or of each channel over positions. With a larger `kernel` the
    channels are those of the whole neighbourhood, [B, C * kernel^2, H, W] (`match_kernel_and_pono_c`).
    """
    b, c, h, w = features.shape
    flat = features.flatten(2) if kernel == 1 else F.unfold(features, kernel, padding=kernel // 2)
    flat = flat - flat.mean(dim=1 if over_channels else -1, keepdim=True)
    return feature_normalize(flat).reshape(b, c * kernel**2, h, w)


def _positions(like: Tensor) -> Offsets:
    """Return the rows [S, 1] and the columns [1, S] of a square map's positions, as real numbers."""
    steps = torch.arange(like.shape[-1], device=like.device, dtype=like.dtype)
    return steps[:, None], steps[None, :]


def offsets_of(indices: Tensor) -> Offsets:
    """Return the offsets of flat indices [B, K, S, S], which may be of any type."""
    real = indices.float()
    rows, columns = _positions(real)
    size = real.shape[-1]
    return torch.div(real, size, rounding_mode="floor") - rows, real % size - columns


def real_indices(rows: Tensor, columns: Tensor) -> Tensor:
    """Return row * S + column of offsets [B, K, S, S], each clamped to the map, as real numbers.

    Nothing is rounded, so the fraction of a row moves the column by S times as much. That is the official behaviour.
    """
    own_rows, own_columns = _positions(rows)
    size = rows.shape[-1]
    return (own_rows + rows).clamp(0, size - 1) * size + (own_columns + columns).clamp(0, size - 1)


def indices_of(rows: Tensor, columns: Tensor) -> Tensor:
    """Return flat indices int64 [B, S * S, K] of offsets [B, K, S, S]: the real ones, truncated."""
    return real_indices(rows, columns).flatten(2).transpose(1, 2).long()


def propagated(offsets: Tensor, *, horizontal: bool) -> Tensor:
    """Return offsets [B, K, S, S] between those of both neighbours, [B, 3 * K, S, S]; zeros beyond the border.

    The neighbours are left and right, or above and below.
    """
    dim = 3 if horizontal else 2
    zeros, most = torch.zeros_like(offsets.narrow(dim, 0, 1)), offsets.shape[dim] - 1
    before = torch.cat([zeros, offsets.narrow(dim, 0, most)], dim)
    after = torch.cat([offsets.narrow(dim, 1, most), zeros], dim)
    return torch.cat([before, offsets, after], 1)


def window_around(indices: Tensor) -> Offsets:
    """Return the candidates around matches int [B, S, S] of the coarser scale as offsets, each [B, 16, 2 S, 2 S]."""
    rows, columns = offsets_of(indices[:, None])
    steps = DILATION * (torch.arange(WINDOW, device=indices.device) - CENTRE)
    down = steps.repeat_interleave(WINDOW).reshape(1, -1, 1, 1)
    right = steps.repeat(WINDOW).reshape(1, -1, 1, 1)
    return F.interpolate(2 * rows + down, scale_factor=2.0), F.interpolate(2 * columns + right, scale_factor=2.0)
