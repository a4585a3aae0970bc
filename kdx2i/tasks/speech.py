"""Speech to image: a condition is an utterance of a caption of an image."""

import torch
from torch import Tensor

from kdx2i.data.conditions.formats import RATE
from kdx2i.tasks.conditions import SpeechCondition
from kdx2i.tasks.paired import PairedTask


class OpenTask(PairedTask[SpeechCondition]):
    """Utterances of a split's images."""

    def given(self, index: Tensor, draws: Tensor, references: Tensor | None, device: torch.device) -> SpeechCondition:
        """Return one utterance of each image: indices int64 [B], draws [B] in [0, 1)."""
        utterances = [self.conditions.waveforms(self.rows[number]) for number in index.tolist()]
        chosen = zip(utterances, draws.tolist(), strict=True)
        waveforms = (several[int(draw * len(several))] for several, draw in chosen)
        return SpeechCondition(tuple(wave.float().div(32768.0).to(device) for wave in waveforms), RATE)
