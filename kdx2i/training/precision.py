"""Mixed precision and memory format: used where a GPU is, float32 on a CPU unless asked otherwise.

What float32 means on a GPU is PyTorch's default: protocol entry gpu-float-format.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Precision = Literal["float32", "bfloat16"]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which networks run; bfloat16 keeps float32's range, so no loss scaling.

    The cast weights are not cached: optimisers step inside the context, and a cache would go on using the
    weights of before the step.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def place(module: ModuleT, device: torch.device) -> ModuleT:
    """Move a network to the device in channels-last layout (measured faster on CPUs and tensor cores)."""
    return module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def to_images(pixels: Tensor, device: torch.device) -> Tensor:
    """Turn uint8 pixels [N, 3, H, W] into float32 images in [-1, 1] on the device, channels last."""
    images = pixels.to(device, torch.float32).div_(127.5).sub_(1.0)
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: Tensor) -> Tensor:
    """Turn images [N, 3, H, W] in [-1, 1] into uint8 pixels on the CPU: clamp, scale, round to nearest."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round().to("cpu", torch.uint8)
