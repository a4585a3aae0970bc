"""The objectives of DeepI2I on BigGAN (`DeepI2I_BigGAN/losses.py` of yaxingwang/DeepI2I)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.teacher.biggan import Features


def discriminator_hinge(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two terms E[max(0, 1 - D(real))] and E[max(0, 1 + D(fake))] of logits [B]."""
    return F.relu(1 - real).mean(), F.relu(1 + fake).mean()


def generator_hinge(fake: Tensor) -> Tensor:
    """Return -E[D(fake)] of logits [B]."""
    return -fake.mean()


def feature_pairs(translated: Features, source: Features, pairing: str) -> tuple[Features, Features]:
    """Return the features that the feature loss compares.

    `per-sample`: each translation with its own source, as the article says. `official`: entries 0 and 1 of the
    discriminator's batch, which are two translations as soon as a batch has two images.
    """
    if pairing == "per-sample":
        return translated, source
    return {r: f[:1] for r, f in translated.items()}, {r: f[1:2] for r, f in translated.items()}


def feature_distances(first: Mapping[int, Tensor], second: Mapping[int, Tensor], power: int = 2) -> dict[int, Tensor]:
    """Return the mean distance of two batches of features [B, C, r, r] by resolution r, image by image.

    Squared, or L1 (power 1).
    """
    return {r: (first[r] - second[r]).abs().pow(power).mean() for r in first.keys() & second.keys()}


def weighted_sum(terms: Mapping[int, Tensor], weights: Mapping[int, float]) -> Tensor:
    """Return the sum of the terms, each a scalar, of the resolutions that have a weight."""
    return torch.stack([terms[r] * weight for r, weight in sorted(weights.items()) if r in terms]).sum()
