"""The objectives (`models/pix2pix_model.py`, `models/networks/{loss,ContextualLoss}.py`, `util/util.py`).

Images are [B, 3, R, R] in [-1, 1]. Features are lists of five [B, C, h, w], the finest first; judgements are lists, one
a scale of the discriminator, of the outputs of its layers, the last one the logits [B, 1, r, r].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.methods.cocosnet_v2.blocks import feature_normalize
from kdx2i.methods.cocosnet_v2.correspondence import Correspondence

SELF_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
PERCEPTUAL_LAYERS = {"4_2": 3, "5_2": 4}
Judgement = Sequence[Sequence[Tensor]]


@dataclass(frozen=True)
class Weights:
    """Weights of the generator's terms."""

    gan: float = 10.0
    discriminator_features: float = 10.0
    self_features: float = 10.0
    contextual: float = 10.0
    perceptual: float = 0.001
    alignment: float = 10.0
    warp_self: float = 500.0
    warp_cycle: float = 1.0


def sample_weights(self_reference: Tensor) -> Tensor:
    """Return weights [B, 1, 1, 1] of samples: those that are their own exemplar (1, else 0, [B]) share a sum of 1."""
    return (self_reference / (self_reference.sum() + 1e-5)).reshape(-1, 1, 1, 1)


def weighted_l1(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over all elements of weights [B, 1, 1, 1] times |x - y|; x, y [B, C, H, W]."""
    return ((x - y).abs() * weights).mean()


def contextual_loss(x: Tensor, y: Tensor, bandwidth: float = 0.1, *, over_channels: bool = True) -> Tensor:
    """Return the contextual loss [B] of features x [B, C, h, w] to those of the exemplar, y [B, C, h, w].

    Both are centred with the mean of y, that of each position over channels (`--PONO`) or of each channel over
    positions; x and y then have as many positions as each other. With cosine distances d_ij and
    w_ij = exp((1 - d_ij / (min_k d_ik + 1e-3)) / bandwidth), it is -log mean_i max_j (w_ij / sum_k w_ik).
    """
    mean = y.mean(dim=1, keepdim=True) if over_channels else y.mean(dim=(2, 3), keepdim=True)
    x, y = (feature_normalize(part - mean).flatten(2) for part in (x, y))
    distances = 1 - torch.einsum("bcp,bcq->bpq", x, y)
    relative = distances / (distances.amin(-1, keepdim=True) + 1e-3)
    similarity = ((1 - relative) / bandwidth).softmax(-1)
    return -similarity.amax(-1).mean(1).log()


def contextual(fake: Sequence[Tensor], exemplar: Sequence[Tensor], *, over_channels: bool = True) -> Tensor:
    """Return 8, 4 and 2 times the contextual loss at relu5_2, 4_2 and 3_2 (halved), meaned over [B]."""

    def at(level: int, pool: int) -> Tensor:
        x, y = (F.avg_pool2d(features[level], pool) for features in (fake, exemplar))
        return contextual_loss(x, y, over_channels=over_channels).mean()

    return 8 * at(4, 1) + 4 * at(3, 1) + 2 * at(2, 2)


def self_features(fake: Sequence[Tensor], real: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return the feature matching of samples that are their own exemplar, weights [B, 1, 1, 1]."""
    pairs = zip(SELF_WEIGHTS, fake, real, strict=True)
    return torch.stack([weight * weighted_l1(x, y, weights) for weight, x, y in pairs]).sum()


def alignment(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the domain alignment: the sum over levels [B, C, h, w] of the mean distance of two pyramids."""
    return torch.stack([(x - y).abs().mean() for x, y in zip(first, second, strict=True)]).sum()


def warp_self(warps: Sequence[Tensor], real: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over warps [B, 3, s, s] of their weighted distance to the image, averaged to their size."""
    shrunk = [F.avg_pool2d(real, real.shape[-1] // warp.shape[-1]) for warp in warps]
    return torch.stack([weighted_l1(x, y, weights) for x, y in zip(warps, shrunk, strict=True)]).sum()


def warp_cycle(cycle: Tensor, exemplar: Tensor) -> Tensor:
    """Return the mean distance of the exemplar warped there and back [B, 3, s, s] to the exemplar at its size."""
    return (cycle - F.avg_pool2d(exemplar, exemplar.shape[-1] // cycle.shape[-1])).abs().mean()


def hinge_generator(fake: Judgement) -> Tensor:
    """Return -mean(logits [B, 1, r, r]), meaned over scales."""
    return torch.stack([-outputs[-1].mean() for outputs in fake]).mean()


def hinge_discriminator(fake: Judgement, real: Judgement) -> tuple[Tensor, Tensor]:
    """Return mean(relu(1 + fake logits [B, 1, r, r])) and mean(relu(1 - real logits)), meaned over scales."""
    on_fake = torch.stack([(1 + outputs[-1]).relu().mean() for outputs in fake]).mean()
    return on_fake, torch.stack([(1 - outputs[-1]).relu().mean() for outputs in real]).mean()


def discriminator_features(fake: Judgement, real: Judgement) -> Tensor:
    """Return the mean distance of the layers [B, C, h, w] before the logits, summed over layers, meaned over scales."""
    distances = [
        torch.stack([(x - y.detach()).abs().mean() for x, y in zip(a[:-1], b[:-1], strict=True)]).sum()
        for a, b in zip(fake, real, strict=True)
    ]
    return torch.stack(distances).mean()


@dataclass(frozen=True)
class Sample:
    """A training batch: images and exemplars [B, 3, R, R] and, 1 where the exemplar is the image itself, [B]."""

    real: Tensor
    exemplar: Tensor
    self_reference: Tensor


@dataclass(frozen=True)
class Perceived:
    """The features of the feature network for the fake, the real image and the exemplar."""

    fake: Sequence[Tensor]
    real: Sequence[Tensor]
    exemplar: Sequence[Tensor]


def generator_terms(
    sample: Sample,
    found: Correspondence,
    real_pyramid: Sequence[Tensor],
    judged: tuple[Judgement, Judgement],
    seen: Perceived,
    *,
    perceptual_layer: str = "4_2",
    over_channels: bool = True,
) -> dict[str, Tensor]:
    """Return the unweighted terms of the generator and the correspondence, scalars by the names of `Weights`.

    `real_pyramid` are the normalised features [B, C, s, s] of the real image with the map; `judged` the fake and the
    real image.
    """
    weights, layer = sample_weights(sample.self_reference), PERCEPTUAL_LAYERS[perceptual_layer]
    return {
        "gan": hinge_generator(judged[0]),
        "discriminator_features": discriminator_features(*judged),
        "self_features": self_features(seen.fake, seen.real, weights),
        "contextual": contextual(seen.fake, seen.exemplar, over_channels=over_channels),
        "perceptual": (seen.fake[layer] - seen.real[layer]).square().mean(),
        "alignment": alignment(found.map_features, real_pyramid),
        "warp_self": warp_self(found.warps, sample.real, weights),
        "warp_cycle": warp_cycle(found.cycle, sample.exemplar),
    }


def weighted_total(terms: dict[str, Tensor], weights: Weights) -> Tensor:
    """Return the scalar sum of the terms times their weights."""
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
