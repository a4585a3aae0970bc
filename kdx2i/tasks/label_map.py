"""Label map to image: a condition is the label map of an image and, in the mode `reference`, a training image."""

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.tasks.paired import PairedTask

# White ground, then colours that can be told apart, repeated where there are more classes.
PALETTE = (0xFFFFFF, 0xF2C94C, 0x1F3B73, 0x8C564B, 0xC0392B, 0xFF9EB5, 0x4FB3E8, 0x6FA84F, 0x7F4FA8, 0x888888)


class OpenTask(PairedTask[LabelMapCondition]):
    """Label maps of a split's images."""

    @cached_property
    def maps(self) -> Tensor:
        """The label maps of the images, uint8 (N, R, R), in their order."""
        return self.conditions.label_maps(self.rows, self.resolution)

    def given(self, index: Tensor, draws: Tensor, references: Tensor | None, device: torch.device) -> LabelMapCondition:
        """Return the label maps of images, indices int64 [B], with `references` [B, 3, R, R] in [-1, 1] where given."""
        return LabelMapCondition(self.maps[index].to(device), self.conditions.labels, references)

    def with_references(self, given: LabelMapCondition, references: Tensor, device: torch.device) -> LabelMapCondition:
        """Return a condition with the label maps of its references, indices int64 [B]."""
        return replace(given, reference_maps=self.maps[references].to(device))

    def shown(self, index: Tensor) -> list[Tensor]:
        """Return the label maps of images, indices int64 [M], coloured."""
        return [coloured(self.maps[index])]


def coloured(maps: Tensor) -> Tensor:
    """Return label maps (N, H, W) as uint8 images (N, 3, H, W)."""
    table = torch.tensor([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in PALETTE], dtype=torch.uint8)
    return table[maps.long() % len(PALETTE)].permute(0, 3, 1, 2)
