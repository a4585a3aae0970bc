"""Any encoder of conditions, from its file: how well images and conditions agree. It is what R-precision asks."""

from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.encoders.damsm.encoders import Damsm
from kdx2i.encoders.damsm.files import FORMAT as DAMSM
from kdx2i.encoders.damsm.files import load_damsm
from kdx2i.encoders.speech.encoder import FORMAT as SPEECH
from kdx2i.encoders.speech.encoder import SpeechEncoder, load_speech_encoder
from kdx2i.errors import UserError
from kdx2i.foreign import require_plain, tensor_metadata
from kdx2i.tasks.conditions import CaptionCondition, SpeechCondition

ConditionT = TypeVar("ConditionT", contravariant=True)
_BATCH = 64


class Matcher(Protocol[ConditionT]):
    """A text or speech encoder with its image encoder."""

    def agreement(self, images: Tensor, condition: ConditionT) -> Tensor:
        """Return the cosines float32 [N, M], on the CPU, of images [N, 3, R, R] in [-1, 1] and M conditions."""


class CaptionMatcher:
    """DAMSM encoders; a cosine is that of an image's code and a caption's sentence vector."""

    def __init__(self, damsm: Damsm) -> None:
        self.damsm = damsm

    @torch.no_grad()
    def agreement(self, images: Tensor, condition: CaptionCondition) -> Tensor:
        """Return the cosines [N, M] of images [N, 3, R, R] in [-1, 1] and M captions."""
        sentences = self.damsm.encode_text(condition.captions).sentences
        codes = [self.damsm.encode_images(part.to(self.damsm.device))[1] for part in torch.split(images, _BATCH)]
        return _cosines(torch.cat(codes), sentences)


class SpeechMatcher:
    """A speech encoder with its image network; a cosine is that of an image's and an utterance's embedding."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        self.encoder = encoder

    @torch.no_grad()
    def agreement(self, images: Tensor, condition: SpeechCondition) -> Tensor:
        """Return the cosines [N, M] of images [N, 3, R, R] in [-1, 1] and M utterances."""
        speech = self.encoder.embed_speech(condition)
        seen = [self.encoder.embed_images(part.to(self.encoder.device)) for part in torch.split(images, _BATCH)]
        return _cosines(torch.cat(seen), speech)


def load_matcher(path: Path, device: torch.device, *, image_weights: str | None = None) -> Matcher[Any]:
    """Return the encoder of a file, whichever kind it is, on a device.

    `image_weights` is the file of a speech encoder's image network; without it that is taken from where it is
    published. `UserError` for a file that is missing, damaged or no encoder, and for networks that are not installed.
    """
    if require_plain(path) is None:
        raise UserError(f"the encoder {path} does not exist: train it with `kdx2i encoder`, or name another file")
    written = tensor_metadata(path).get("format")
    matcher: Matcher[Any]
    if written == DAMSM:
        matcher = CaptionMatcher(load_damsm(path, device))
    elif written == SPEECH:
        matcher = SpeechMatcher(load_speech_encoder(path, device, images=True, image_weights=image_weights))
    else:
        raise UserError(f"{path} holds no encoder of captions or speech")
    return matcher


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosines [N, M] of vectors [N, D] and [M, D], to six digits: a condition that comes twice is a tie."""
    return (F.normalize(first, dim=1) @ F.normalize(second, dim=1).T).cpu().round(decimals=6)
