"""Label maps: mIoU needs the maps that images were asked to follow, and has a control of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdx2i.metrics.embedded_set import EmbeddedSet, LabelMaps
from kdx2i.metrics.ladder.damage import blur, to_bytes
from kdx2i.metrics.runs import embed_generated
from kdx2i.metrics.scorer import Scorer
from kdx2i.tasks.label_map import OpenTask
from kdx2i.tasks.scoring import paired

BLUR = 32
"""Sides of an image in the standard deviation of the control's blur: 2 px at 64 px."""


class TaskScoring(paired.TaskScoring[OpenTask]):
    """The scoring of images from label maps."""

    def with_conditions(self, images: EmbeddedSet, given: Tensor, draws: Tensor | None = None) -> EmbeddedSet:
        """Return images with the label maps of real images (indices int64 [N])."""
        return replace(images, label_maps=lambda: LabelMaps(self.task.maps[given], self.task.conditions.labels))

    def further_controls(
        self, scorer: Scorer, images: EmbeddedSet, given: Tensor, metrics: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Return the rows of real images (indices int64 [N]) with shuffled label maps, and of blurred ones.

        The first is what following no map scores, the second what a generator without details can reach.
        """
        shuffled = given[torch.randperm(len(given), generator=generator)]
        pixels = self.real.images[given]
        soft = to_bytes(blur(pixels, pixels.shape[-1] / BLUR))
        blurred = embed_generated(scorer, soft, self.real.labels[given])
        return {
            "maps_shuffled": scorer.score(self.with_conditions(images, shuffled), metrics),
            "blurred": scorer.score(self.with_conditions(blurred, given), metrics),
        }
