"""The published resizes from image files to network input, batched and exact.

Source: clean-fid (Parmar et al. 2022) for `clean`, the 2015 TensorFlow graph for `tf1`, PyTorch's `interpolate` for
the bilinear ones, Pillow for that of StarGAN v2. All give float32 in [0, 255], and all but Pillow's are not quantised;
the normalisation comes after. All are separable, so a resize is two small matrix products, R X C^T, with the
interpolation weights of one axis in each matrix.
"""

from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def _cubic(distance: Tensor) -> Tensor:
    """Return the cubic convolution kernel with a = -0.5 (Keys 1981), which Pillow calls bicubic."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, torch.zeros_like(x)))


@lru_cache(maxsize=64)
def _clean_matrix(source: int, target: int) -> Tensor:
    """Return the (target, source) float32 weights of Pillow's antialiased bicubic along one axis.

    The kernel widens by the factor of reduction; weights beyond the image are dropped and the rest rescaled to
    sum 1. Computed in float64: in float32 (as torch's own interpolation does) noise comes out 0.003 grey levels
    away from Pillow.
    """
    scale = source / target
    widening = max(scale, 1.0)
    centre = (torch.arange(target, dtype=torch.float64) + 0.5) * scale
    pixel = torch.arange(source, dtype=torch.float64)
    low = (centre - 2.0 * widening + 0.5).floor().clamp_min(0.0)
    high = (centre + 2.0 * widening + 0.5).floor().clamp_max(source)
    weights = _cubic((pixel + 0.5 - centre[:, None]) / widening)
    weights *= (pixel >= low[:, None]) & (pixel < high[:, None])
    return (weights / weights.sum(1, keepdim=True)).float()


@lru_cache(maxsize=64)
def _tf1_matrix(source: int, target: int) -> Tensor:
    """Return the (target, source) float32 weights of TensorFlow 1's bilinear interpolation along one axis.

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
    return matrix


def resize_clean(images: Tensor, size: int) -> Tensor:
    """Resize as clean-fid does: Pillow's antialiased bicubic per channel in float32, then clip.

    Takes (..., H, W) in [0, 255], any dtype, and returns (..., size, size) float32 in [0, 255], within
    0.0002 grey levels of Pillow.
    """
    rows, columns = (_clean_matrix(length, size).to(images.device) for length in images.shape[-2:])
    return (rows @ images.float() @ columns.T).clamp_(0.0, 255.0)


def resize_tf1(images: Tensor, size: int) -> Tensor:
    """Resize as the TensorFlow 1 graph does: bilinear, no half-pixel shift, no antialiasing.

    Takes (..., H, W) in [0, 255], any dtype, and returns (..., size, size) float32, equal to torch-fidelity's
    resize to float32 rounding.
    """
    rows, columns = (_tf1_matrix(length, size).to(images.device) for length in images.shape[-2:])
    return rows @ images.float() @ columns.T


@lru_cache(maxsize=64)
def _bilinear_matrix(source: int, target: int, corners: bool) -> Tensor:
    """Return the (target, source) float32 weights of PyTorch's bilinear interpolation along one axis.

    Source position = (index + 1/2) source / target - 1/2, not below 0; with `corners` it is
    index (source - 1) / (target - 1), so that the corner pixels stay. No antialiasing.
    Positions are float32, as PyTorch's are.
    """
    index = torch.arange(target, dtype=torch.float32)
    if corners:
        position = index * torch.tensor((source - 1) / max(target - 1, 1), dtype=torch.float32)
    else:
        position = ((index + 0.5) * torch.tensor(source / target, dtype=torch.float32) - 0.5).clamp_min(0.0)
    low = position.long().clamp_max(source - 1)
    high = (low + 1).clamp_max(source - 1)
    fraction = position - low
    matrix = torch.zeros(target, source)
    rows = torch.arange(target)
    matrix.index_put_((rows, low), 1.0 - fraction, accumulate=True)
    matrix.index_put_((rows, high), fraction, accumulate=True)
    return matrix


def resize_bilinear(images: Tensor, size: int, *, corners: bool = False) -> Tensor:
    """Resize as PyTorch's `interpolate` in mode bilinear does, with `align_corners=corners` and no antialiasing.

    Takes (..., H, W) in [0, 255], any dtype, and returns (..., size, size) float32, within 0.004 grey levels of
    PyTorch (up to 512 px): that much comes from the last bit of a position. Source: pytorch-fid's
    `inception.py`; with `corners` BigGAN-PyTorch's `inception_utils.py`, which DeepI2I carries.
    """
    rows, columns = (_bilinear_matrix(length, size, corners).to(images.device) for length in images.shape[-2:])
    return rows @ images.float() @ columns.T


def resize_corners(images: Tensor, size: int) -> Tensor:
    """Resize as `resize_bilinear` with `corners`."""
    return resize_bilinear(images, size, corners=True)


def resize_pillow(image: Tensor, size: int) -> Tensor:
    """Resize an image uint8 (3, H, W) by Pillow's antialiased bilinear filter, to float32 (3, size, size).

    The result is rounded to whole grey levels, as torchvision's `Resize` leaves a Pillow image; on the image's device.
    """
    pixels = Image.fromarray(image.cpu().permute(1, 2, 0).numpy())
    resized = np.array(pixels.resize((size, size), Image.Resampling.BILINEAR))
    return torch.from_numpy(resized).permute(2, 0, 1).to(image.device, torch.float32)


RESIZES = {"clean": resize_clean, "tf1": resize_tf1}
