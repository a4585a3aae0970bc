"""Drawing of labelled training images: class-balanced, augmented, a function of the step alone."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.training.distributed import shard
from kdx2i.training.precision import to_images


def columns(batch: int) -> int:
    """Return the columns of a preview: eight, or a batch where that is less: it fits where the training does."""
    return min(8, batch)


class BalancedImages:
    """Class-balanced draws with replacement from labelled uint8 images.

    `fetch` returns the images of given indices as uint8 [B, 3, R, R]; `labels` int64 [N] has at least one
    image of each class 0 ... num_classes - 1.
    """

    def __init__(
        self, fetch: Callable[[Tensor], Tensor], labels: Tensor, num_classes: int, device: torch.device
    ) -> None:
        self.fetch, self.device, self.num_classes = fetch, device, num_classes
        counts = torch.bincount(labels, minlength=num_classes)
        if int(counts.min()) == 0:
            raise UserError(
                f"class {int(counts.argmin())} of {num_classes} has no training image: "
                "give it one in the split or leave the class out"
            )
        self.order = torch.argsort(labels, stable=True)
        self.counts, self.offsets = counts, torch.cumsum(counts, 0) - counts

    def draw_labels(self, batch: int, *, balanced: bool = True) -> Tensor:
        """Draw the labels [batch] of a joint batch: every class alike, or as often as it has images."""
        if balanced:
            return torch.randint(self.num_classes, (batch,))
        images = torch.randint(len(self.order), (batch,))
        return torch.searchsorted(torch.cumsum(self.counts, 0), images, right=True)

    def draw(
        self, labels: Tensor, crop_probability: float, *, share: bool = True, mirror_probability: float = 0.5
    ) -> Tensor:
        """Draw one augmented image of each label, [B, 3, R, R] in [-1, 1]; return this rank's `share` or all."""
        chosen = (torch.rand(len(labels)) * self.counts[labels]).long().clamp(max=self.counts[labels] - 1)
        indices = self.order[self.offsets[labels] + chosen]
        theta = augmentation(len(labels), crop_probability, mirror_probability)
        if share:
            indices, theta = shard(indices), shard(theta)
        images = to_images(self.fetch(indices), self.device)
        grid = F.affine_grid(theta.to(self.device), list(images.shape), align_corners=False)
        warped = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return warped.contiguous(memory_format=torch.channels_last)


def augmentation(batch: int, crop_probability: float, mirror_probability: float = 0.5) -> Tensor:
    """Draw StarGAN v2's augmentation as affine maps [B, 2, 3]: a random resized crop, then a mirror.

    With `crop_probability` a crop of 0.8 to 1.0 of the area and an aspect ratio of 0.9 to 1.1 is enlarged to
    the full size (`core/data_loader.py`); half of the images, or another share, are mirrored.
    """
    area = torch.empty(batch).uniform_(0.8, 1.0)
    ratio = torch.exp(torch.empty(batch).uniform_(math.log(0.9), math.log(1.1)))
    crops = (torch.rand(batch) < crop_probability).float()
    width = 1 + crops * ((area * ratio).sqrt().clamp(max=1.0) - 1)
    height = 1 + crops * ((area / ratio).sqrt().clamp(max=1.0) - 1)
    left = (torch.rand(batch) * 2 - 1) * (1 - width)
    top = (torch.rand(batch) * 2 - 1) * (1 - height)
    mirror = torch.where(torch.rand(batch) < mirror_probability, -1.0, 1.0)
    zero = torch.zeros(batch)
    return torch.stack([torch.stack([width * mirror, zero, left], 1), torch.stack([zero, height, top], 1)], dim=1)
