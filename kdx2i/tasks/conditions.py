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
