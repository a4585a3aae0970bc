"""Text to image: a condition is a caption of an image."""

import torch
from torch import Tensor

from kdx2i.tasks.conditions import CaptionCondition
from kdx2i.tasks.paired import PairedTask


class OpenTask(PairedTask[CaptionCondition]):
    """Captions of a split's images."""

    def given(self, index: Tensor, draws: Tensor, references: Tensor | None, device: torch.device) -> CaptionCondition:
        """Return one caption of each image: indices int64 [B], draws [B] in [0, 1)."""
        captions = [self.conditions.captions(self.rows[number]) for number in index.tolist()]
        chosen = zip(captions, draws.tolist(), strict=True)
        return CaptionCondition(tuple(several[int(draw * len(several))] for several, draw in chosen))
