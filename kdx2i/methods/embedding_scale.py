"""The scale on which stage 2 is given embeddings of captions and utterances (protocol entry x2i-embedding-scale)."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

EMBEDDINGS = "embeddings"
"""The scale's name among the networks of a method."""
CONDITIONS = 2000
"""Training conditions that a scale is fitted to, at most."""


class EmbeddingScale(nn.Module):
    """Embeddings [B, D] with mean 0 and standard deviation 1 over those of training; as they are until it is fitted.

    So a student meets embeddings as it met the pseudo-conditions of stage 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("deviation", torch.ones(dimension))

    def fit(self, embeddings: Iterable[Tensor]) -> None:
        """Take mean and deviation of embeddings [B, D] of some batches; components that never change are centred."""
        every = torch.cat(list(embeddings)).double()
        deviation = every.std(0, correction=0)
        self.mean.copy_(every.mean(0))
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1.0))

    def forward(self, embeddings: Tensor) -> Tensor:
        """[B, D] -> [B, D]."""
        return (embeddings - self.mean) / self.deviation


def fit_scale(
    networks: Mapping[str, nn.Module], averages: Mapping[str, nn.Module], embeddings: Iterable[Tensor]
) -> None:
    """Fit the scale of a method, and the one that it generates with, to embeddings [B, D] of some batches."""
    scale = networks[EMBEDDINGS]
    assert isinstance(scale, EmbeddingScale)
    scale.fit(embeddings)
    averages[EMBEDDINGS].load_state_dict(scale.state_dict())
