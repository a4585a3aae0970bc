"""BigGAN (Brock et al. 2019) as ajbrock/BigGAN-PyTorch has it: generator and projection discriminator.

DeepI2I and TransferI2I are made from it. State keys are the official ones. Images are [B, 3, R, R] in [-1, 1],
classes int64 [B], z ~ N(0, I).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.teacher.biggan.layers import (
    BN_EPS,
    BN_MOMENTUM,
    SN_EPS,
    BatchNorm,
    ClassEmbedding,
    ConditionalBatchNorm,
    Conv,
    DiscriminatorBlock,
    GeneratorBlock,
    Linear,
    SelfAttention,
)

Features = dict[int, Tensor]
"""Features [B, C, r, r] by their resolution r."""

WidthTable = Literal["official", "truncated"]
"""Widths at 32 px: BigGAN's own table (all alike), or that of larger images cut short (protocol entry biggan-32px)."""

BOTTOM = 4
GENERATOR_WIDTHS = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
"""Channels at 4, 8, ... px in units of `width` (`G_arch`)."""

DISCRIMINATOR_WIDTHS = {
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}
"""Channels of each block in units of `width` (`D_arch`)."""

TRUNCATED = {32: ((16, 16, 8, 4), (4, 8, 16, 16))}
"""The tables of 128 px (both networks) without the blocks above 32 px."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of a generator; the defaults are those of the published model at 128 px.

    `z_dim` is cut into one chunk for the first layer and one for each block. `attention`: after the block of
    this resolution, or of each of these, where there is one (0: none).
    """

    resolution: int = 128
    width: int = 96
    num_classes: int = 1000
    z_dim: int = 120
    shared_dim: int = 128
    attention: int | tuple[int, ...] = 64
    table: WidthTable = "official"
    bn_eps: float = BN_EPS
    sn_eps: float = SN_EPS

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at 4, 8, ... px; impossible sizes raise `ValueError`."""
        return _widths(GENERATOR_WIDTHS, 0, self.resolution, self.width, self.table)

    @property
    def chunk(self) -> int:
        """Length of a chunk of z."""
        return self.z_dim // len(self.widths)

    @property
    def noise_dim(self) -> int:
        """Length of the z that is drawn: whole chunks."""
        return self.chunk * len(self.widths)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of a discriminator; the defaults are those of the published model at 128 px.

    `inplace`: the ReLU before the sum overwrites the feature of the lowest resolution, as in the official
    scripts; False keeps that feature as the last block made it.
    """

    resolution: int = 128
    width: int = 96
    num_classes: int = 1000
    attention: int | tuple[int, ...] = 64
    table: WidthTable = "official"
    wide: bool = True
    inplace: bool = True
    sn_eps: float = SN_EPS

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each block; impossible sizes raise `ValueError`."""
        return _widths(DISCRIMINATOR_WIDTHS, 1, self.resolution, self.width, self.table)

    @property
    def sides(self) -> tuple[int, ...]:
        """Resolution in pixels after each block: the official 32 px network stops at 8 px, all others at 4."""
        halvings = 2 if (self.resolution, self.table) == (32, "official") else len(self.widths) - 1
        return tuple(self.resolution >> min(i + 1, halvings) for i in range(len(self.widths)))


def _widths(
    tables: Mapping[int, tuple[int, ...]], network: int, resolution: int, width: int, table: WidthTable
) -> tuple[int, ...]:
    if table == "truncated" and resolution in TRUNCATED:
        return tuple(width * multiple for multiple in TRUNCATED[resolution][network])
    if table != "official" or resolution not in tables:
        raise ValueError(f"BigGAN has no {table} table for {resolution} px")
    return tuple(width * multiple for multiple in tables[resolution])


def _sides(attention: int | tuple[int, ...]) -> tuple[int, ...]:
    return attention if isinstance(attention, tuple) else (attention,)


@torch.no_grad()
def orthogonal_(network: nn.Module) -> None:
    """Draw all weights of convolutions, linear layers and embeddings as orthogonal matrices (`G_init` ortho)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(module.weight)


@torch.no_grad()
def standing_statistics(generator: "Generator", batches: int, batch: int) -> None:
    """Replace the running statistics by means over `batches` drawn batches, and leave the generator in evaluation.

    Averaged weights need this: the buffers that they were given belong to other weights. Draws from torch's
    global generator.
    """
    config = generator.config
    norms = [m for m in generator.modules() if isinstance(m, BatchNorm | ConditionalBatchNorm)]
    device = generator.shared.weight.device
    generator.train()
    for index in range(batches):
        for norm in norms:
            norm.momentum = 1 / (index + 1)
        z = torch.randn(batch, config.noise_dim).to(device)
        generator(z, torch.randint(config.num_classes, (batch,)).to(device))
    for norm in norms:
        norm.momentum = BN_MOMENTUM
    generator.eval()


class Generator(nn.Module):
    """z and a class to an image; each block reads the class embedding and its own chunk of z."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config, widths, eps = config, config.widths, config.sn_eps
        condition = config.shared_dim + config.chunk
        self.shared = nn.Embedding(config.num_classes, config.shared_dim)
        self.linear = Linear(config.chunk, widths[0] * BOTTOM**2, eps=eps)
        self.blocks = nn.ModuleList()
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            group: list[nn.Module] = [GeneratorBlock(inputs, outputs, condition, config.bn_eps, eps)]
            if BOTTOM << (index + 1) in _sides(config.attention):
                group.append(SelfAttention(outputs, eps))
            self.blocks.append(nn.ModuleList(group))
        # The official output norm takes no eps: it keeps its own default.
        self.output_layer = nn.Sequential(BatchNorm(widths[-1]), nn.ReLU(inplace=True), Conv(widths[-1], 3, eps=eps))
        orthogonal_(self)

    def forward(self, z: Tensor, y: Tensor, additions: Mapping[int, Tensor] | None = None) -> Tensor:
        """z [B, Z], classes int64 [B] -> images [B, 3, R, R] in [-1, 1]; see `render`."""
        return self.render(z, self.shared(y), additions)[0]

    def render(
        self, z: Tensor, embedding: Tensor, additions: Mapping[int, Tensor] | None = None
    ) -> tuple[Tensor, Features]:
        """z [B, Z], class embedding [B, S] -> images and the features at 4, 8, ... px.

        `additions` are added to the features of their resolutions (4 px: the first linear layer's output), where there
        is attention before it and after it, as officially; the features returned are those before the last addition.
        """
        extra = {} if additions is None else additions
        chunks = torch.split(z, self.config.chunk, dim=1)
        h = self.linear(chunks[0]).unflatten(1, (-1, BOTTOM, BOTTOM))
        features = {BOTTOM: h}
        if BOTTOM in extra:
            h = h + extra[BOTTOM]
        for group, chunk in zip(self.blocks, chunks[1:], strict=True):
            block, *attention = cast(Iterable[nn.Module], group)
            condition = torch.cat([embedding, chunk], 1)
            for layer in (block, *attention):
                h = layer(h, condition) if layer is block else layer(h)
                features[side := h.shape[-1]] = h
                if side in extra:
                    h = h + extra[side]
        return torch.tanh(self.output_layer(h)), features


class Discriminator(nn.Module):
    """The projection discriminator; without classes it is the encoder of DeepI2I, which has the same weights."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config, widths, eps = config, config.widths, config.sn_eps
        self.blocks = nn.ModuleList()
        sides = (config.resolution, *config.sides)
        for index, (inputs, outputs) in enumerate(zip((3, *widths), widths, strict=False)):
            hidden = outputs if config.wide else inputs
            down = sides[index + 1] < sides[index]
            group: list[nn.Module] = [
                DiscriminatorBlock(inputs, outputs, hidden=hidden, first=index == 0, down=down, eps=eps)
            ]
            if sides[index + 1] in _sides(config.attention):
                group.append(SelfAttention(outputs, eps))
            self.blocks.append(nn.ModuleList(group))
        self.linear = Linear(widths[-1], 1, eps=eps)
        self.embed = ClassEmbedding(config.num_classes, widths[-1], eps=eps)
        orthogonal_(self)

    def features(self, x: Tensor) -> Features:
        """Images [B, 3, R, R] -> the features of each resolution, that of its last block where there are several."""
        return self._features(x)[0]

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Features]:
        """Images [B, 3, R, R] and classes int64 [B] -> logits [B] and `features`.

        Without classes the logits are the unconditional part alone.
        """
        features, rectified = self._features(x)
        pooled = rectified.sum(dim=(2, 3))
        logits = self.linear(pooled)
        if y is not None:
            logits = logits + (self.embed(y) * pooled).sum(dim=1, keepdim=True)
        return logits.squeeze(1), features

    def _features(self, x: Tensor) -> tuple[Features, Tensor]:
        """Return the features and the last one rectified."""
        features: Features = {}
        for group in self.blocks:
            for layer in cast(Iterable[nn.Module], group):
                x = layer(x)
            features[x.shape[-1]] = x
        rectified = F.relu(x)
        if self.config.inplace:
            features[x.shape[-1]] = rectified
        return features, rectified
