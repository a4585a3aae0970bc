"""The two published resizes from image files to network input, batched and exact.

Source: clean-fid (Parmar et al. 2022) for `clean`, the 2015 TensorFlow graph for `tf1`. Both give float32 in
[0, 255], not quantised; the network's own normalisation comes after.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor


def resize_clean(images: Tensor, size: int) -> Tensor:
    """Resize as clean-fid does: Pillow's antialiased bicubic per channel in float32, then clip.

    Takes (B, 3, H, W) in [0, 255], any dtype, and returns (B, 3, size, size) float32 in [0, 255], within
    0.001 grey levels of Pillow. `antialias=True` matters when enlarging too: it selects Pillow's cubic
    (a = -0.5) where the plain mode has a = -0.75.
    """
    resized = functional.interpolate(
        images.float(), size=(size, size), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.clamp_(0.0, 255.0)


def _tf1_matrix(source: int, target: int, device: torch.device) -> Tensor:
    """Return the (target, source) float32 matrix of TensorFlow 1's bilinear interpolation along one axis.

    Source position = index * source / target in float32, with no half-pixel shift and no antialiasing.
    """
    position = torch.arange(target, dtype=torch.float32) * torch.tensor(source / target, dtype=torch.float32)
    low = position.long()
    high = (low + 1).clamp_max(source - 1)
    fraction = position - low.float()
    matrix = torch.zeros(target, source)
    rows = torch.arange(target)
    matrix.index_put_((rows, low), 1.0 - fraction, accumulate=True)
    matrix.index_put_((rows, high), fraction, accumulate=True)
    return matrix.to(device)


def resize_tf1(images: Tensor, size: int) -> Tensor:
    """Resize as the TensorFlow 1 graph does: bilinear, no half-pixel shift, no antialiasing.

    Takes (B, 3, H, W) in [0, 255], any dtype, and returns (B, 3, size, size) float32. The interpolation is
    separable, so it is two small matrix products; equal to torch-fidelity's resize to float32 rounding.
    """
    height, width = images.shape[-2:]
    rows = _tf1_matrix(height, size, images.device)
    columns = _tf1_matrix(width, size, images.device)
    return rows @ images.float() @ columns.T


RESIZES = {"clean": resize_clean, "tf1": resize_tf1}
