"""The real images of a split in memory, by role, and the checks that every set of images in memory passes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.settings import RealPart


@dataclass(frozen=True)
class RealImages:
    """The real images of a split: uint8 (N, 3, H, W), class indices int64 (N,), bool (N,) for test images."""

    images: Tensor
    labels: Tensor
    is_test: Tensor

    def mask(self, part: RealPart) -> Tensor:
        """Return the bool (N,) mask of the images of a role, or of all."""
        if part == "all":
            return torch.ones_like(self.is_test)
        return self.is_test if part == "test" else ~self.is_test


def check_images(images: Tensor, labels: Tensor, classes: int, what: str) -> None:
    """Raise `UserError` unless images are uint8 (N, 3, H, W) with labels int64 (N,) in 0 .. classes - 1."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        shape = tuple(images.shape)
        raise UserError(f"the {what} images must be uint8 (N, 3, H, W), got {images.dtype} {shape}")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise UserError(f"the {what} images need one int64 label each, got {labels.dtype} {tuple(labels.shape)}")
    if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise UserError(f"a label of the {what} images lies outside the {classes} classes")
