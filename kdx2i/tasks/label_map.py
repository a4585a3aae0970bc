"""Label map to image: a condition is the label map of an image and, in the mode `reference`, a training image."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kdx2i.metrics.embedded_set import EmbeddedSet, LabelMaps
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.tasks.paired import PairedRequests, PairedTask

# White ground, then colours that can be told apart, repeated where there are more classes.
PALETTE = (0xFFFFFF, 0xF2C94C, 0x1F3B73, 0x8C564B, 0xC0392B, 0xFF9EB5, 0x4FB3E8, 0x6FA84F, 0x7F4FA8, 0x888888)


class Opened(PairedTask[LabelMapCondition]):
    """Label maps of a split's images."""

    @cached_property
    def maps(self) -> Tensor:
        """The label maps of the real images, uint8 (N, R, R), in their order."""
        return self.conditions.label_maps(self.rows, self.resolution)

    def given(
        self, images: Tensor, draws: Tensor, references: Tensor | None, device: torch.device
    ) -> LabelMapCondition:
        """Return the label map of each image."""
        return LabelMapCondition(self.maps[images].to(device), self.conditions.labels, references)

    def shown(self, images: Tensor) -> list[Tensor]:
        """Return the label maps, coloured."""
        return [coloured(self.maps[images])]

    def completed(
        self,
        generated: EmbeddedSet,
        requests: PairedRequests[LabelMapCondition],
        answer: Callable[[Any], Tensor],
        settings: EvaluationSettings,
    ) -> EmbeddedSet:
        """Return the generated images with the label maps that they were asked to follow."""
        return self.with_conditions(generated, requests.images)

    def with_conditions(self, images: EmbeddedSet, given: Tensor) -> EmbeddedSet:
        """Return images with the label maps of real images (indices [N])."""
        return replace(images, label_maps=lambda: LabelMaps(self.maps[given], self.conditions.labels))

    def further_controls(
        self, scorer: Scorer, images: EmbeddedSet, given: Tensor, metrics: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Return the row of real images with the label maps of others: what following no map scores."""
        others = given[torch.randperm(len(given), generator=generator)]
        return {"maps_shuffled": scorer.score(self.with_conditions(images, others), metrics)}


def coloured(maps: Tensor) -> Tensor:
    """Return label maps (N, H, W) as uint8 images (N, 3, H, W)."""
    table = torch.tensor([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in PALETTE], dtype=torch.uint8)
    return table[maps.long() % len(PALETTE)].permute(0, 3, 1, 2)
