"""Translation with a BigGAN, which DeepI2I and TransferI2I share: encoder features, adaptor, generator.

The encoder is a copy of the discriminator. Its features at several resolutions go through the adaptor and are
added, weighted, to the generator's activations of the same resolution (`DeepI2I_BigGAN/BigGAN.py` of
yaxingwang/DeepI2I).
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from kdx2i.teacher import biggan
from kdx2i.teacher.biggan_layers import SN_EPS, DiscriminatorBlock, Embedding, Linear


def shared_resolutions(
    generator: biggan.GeneratorConfig, discriminator: biggan.DiscriminatorConfig, largest: int
) -> tuple[int, ...]:
    """Return the resolutions up to `largest` px at which both networks have features, descending.

    Officially 32, 16, 8 and 4 of 128 px images (protocol entry deepi2i-resolutions).
    """
    made = {biggan.BOTTOM << i for i in range(len(generator.widths))}
    return tuple(sorted((r for r in made & set(discriminator.sides) if r <= largest), reverse=True))


class Adaptor(nn.Module):
    """One residual block for each resolution, from the encoder's to the generator's channels (`Alignment`).

    `resolutions` descend. `linear` and `embed` do nothing: they are in the official checkpoints. Weights keep
    PyTorch's own start, as in the official transfer setting, which skips the orthogonal one.
    """

    def __init__(
        self,
        generator: biggan.GeneratorConfig,
        discriminator: biggan.DiscriminatorConfig,
        resolutions: Iterable[int],
        eps: float = SN_EPS,
    ) -> None:
        super().__init__()
        self.resolutions = tuple(resolutions)
        # Two blocks may end at one resolution: the last one's feature is the one that is kept.
        encoded = dict(zip(discriminator.sides, discriminator.widths, strict=True))
        made = {biggan.BOTTOM << i: width for i, width in enumerate(generator.widths)}
        self.blocks = nn.ModuleList(
            nn.Sequential(DiscriminatorBlock(encoded[r], made[r], eps=eps)) for r in self.resolutions
        )
        self.linear = Linear(discriminator.widths[-1], 1, eps=eps)
        self.embed = Embedding(discriminator.num_classes, discriminator.widths[-1], eps=eps)

    def forward(self, features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Features of the encoder -> features [B, C, r, r] with the generator's channels."""
        return {r: block(features[r]) for r, block in zip(self.resolutions, self.blocks, strict=True)}


def weighted(features: Mapping[int, Tensor], weights: Mapping[int, float]) -> dict[int, Tensor]:
    """Return each feature times the weight of its resolution: what is added to the generator's activations."""
    return {r: feature * weights[r] for r, feature in features.items()}


def feature_distances(first: Mapping[int, Tensor], second: Mapping[int, Tensor], power: int = 2) -> dict[int, Tensor]:
    """Return the mean distance of two batches of features by resolution, image by image: squared, or L1 (power 1)."""
    return {r: (first[r] - second[r]).abs().pow(power).mean() for r in first.keys() & second.keys()}


def weighted_sum(terms: Mapping[int, Tensor], weights: Mapping[int, float]) -> Tensor:
    """Return the sum of the terms of the resolutions that have a weight."""
    return torch.stack([terms[r] * weight for r, weight in sorted(weights.items()) if r in terms]).sum()
