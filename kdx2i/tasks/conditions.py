"""What a model is given, one dataclass a task."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TranslationCondition:
    """Image-to-image: the images to translate, the domains to translate them to, and where the style comes from.

    `sources` [B, 3, R, R] in [-1, 1]; `targets` int64 [B]; `guidance` is `latent` (styles are drawn) or `reference`
    (styles are those of `references` [B, 3, R, R] in [-1, 1], images of the target domains). Raises `ValueError` for
    the guidance `reference` without references.
    """

    sources: Tensor
    targets: Tensor
    guidance: str
    references: Tensor | None = None

    def __post_init__(self) -> None:
        if self.guidance == "reference" and self.references is None:
            raise ValueError("the guidance `reference` lacks its reference images")

    def to(self, device: torch.device) -> "TranslationCondition":
        """Return the same condition on a device."""
        references = None if self.references is None else self.references.to(device)
        return TranslationCondition(self.sources.to(device), self.targets.to(device), self.guidance, references)


@dataclass(frozen=True)
class CaptionCondition:
    """Text: one caption for each of B images."""

    captions: tuple[str, ...]


@dataclass(frozen=True)
class SpeechCondition:
    """Speech: one utterance for each of B images, float32 (N,) in [-1, 1] of different lengths, at `rate` Hz."""

    waveforms: tuple[Tensor, ...]
    rate: int


@dataclass(frozen=True)
class LabelMapCondition:
    """Label map: uint8 [B, R, R], numbers of `labels`; where asked for `references` [B, 3, R, R] in [-1, 1].

    `reference_maps` uint8 [B, R, R] are the label maps of the references.
    """

    maps: Tensor
    labels: tuple[str, ...]
    references: Tensor | None = None
    reference_maps: Tensor | None = None
