"""Translation between StyleGAN features, which DeepI2I's two-class variant and TransferI2I share.

A direction translates into one class: an encoder (the layout of a discriminator) gives features of the source at
several resolutions, an adaptor carries them over, and they are added, weighted, to the activations of a StyleGAN
generator, whose style comes from noise or from a reference image. Backbones are StyleGAN-1
(`kdx2i.teacher.stylegan1`, the official one) and StyleGAN2 (`kdx2i.teacher.stylegan2`); both have one interface.
Images are [B, 3, R, R] in [-1, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from kdx2i.teacher.layers import EqualizedLinear
from kdx2i.teacher.stylegan1_layers import ConvBlock

Features = dict[int, Tensor]
NoiseMode = Literal["random", "none"]


class StyleGenerator(Protocol):
    """What a direction needs of a generator of either backbone."""

    num_ws: int
    z_dim: int
    w_dim: int

    def mapping(self, z: Tensor) -> Tensor:
        """z [B, z_dim] -> w [B, w_dim]."""

    def synthesis(
        self, ws: Tensor, noise: NoiseMode, additions: Mapping[int, Tensor] | None = None
    ) -> tuple[Tensor, Features]:
        """ws [B, num_ws, w_dim] -> image and features by resolution; `additions` are added to the features."""


class FeatureDiscriminator(Protocol):
    """What a direction needs of a discriminator of either backbone."""

    semantic_dim: int

    def features(self, image: Tensor) -> Features:
        """Return the features by resolution."""

    def semantic(self, image: Tensor) -> Tensor:
        """Return the vector [B, semantic_dim] before the last linear layer."""

    def examine(self, image: Tensor) -> tuple[Tensor, Features]:
        """Return the logits [B, 1] and the features by resolution."""


class Adaptor(nn.Module):
    """One ConvBlock a resolution, as wide as the feature (`Alignment` of the official code).

    `widths` gives the channels by resolution; blocks are numbered from the largest resolution on.
    """

    def __init__(self, widths: Mapping[int, int]) -> None:
        super().__init__()
        self.resolutions = sorted(widths, reverse=True)
        self.progression = nn.ModuleList([ConvBlock(widths[r], widths[r]) for r in self.resolutions])

    def forward(self, features: Mapping[int, Tensor]) -> Features:
        """Adapt the features of those of the adaptor's resolutions that are given."""
        blocks = zip(self.resolutions, self.progression, strict=True)
        return {r: block(features[r]) for r, block in blocks if r in features}


class StyleEncoder(nn.Module):
    """A discriminator whose last linear layer gives a style: reference image -> w [B, w_dim].

    It starts at the mean style: the new layer has zero weights, and `mean_style` as its bias. `trunk` must not mix
    the images of a batch.
    """

    def __init__(self, trunk: nn.Module, semantic_dim: int, w_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = EqualizedLinear(semantic_dim, w_dim)
        nn.init.zeros_(self.head.weight)

    @torch.no_grad()
    def set_mean_style(self, mean_style: Tensor) -> None:
        """Let the encoder start at a style [w_dim]."""
        self.head.bias.copy_(mean_style)

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, w_dim]."""
        w: Tensor = self.head(cast(FeatureDiscriminator, self.trunk).semantic(image))
        return w


@dataclass(frozen=True)
class Direction:
    """The networks that translate into one class.

    `weights` are those of the added features by resolution; features of weight zero are not computed.
    """

    encoder: nn.Module
    adaptor: nn.Module
    generator: nn.Module
    discriminator: nn.Module
    style_encoder: nn.Module
    weights: Mapping[int, float]
    noise: NoiseMode = "random"

    def encode(self, x: Tensor) -> Features:
        """Source image -> the encoder's features that the adaptor needs."""
        features = cast(FeatureDiscriminator, self.encoder).features(x)
        return {r: features[r] for r, weight in self.weights.items() if weight != 0}

    def additions(self, features: Features) -> Features:
        """The encoder's features -> what is added to the generator's, weighted."""
        return {r: self.weights[r] * adapted for r, adapted in self.adaptor(features).items()}

    def style(self, z: Tensor) -> Tensor:
        """z [B, z_dim] -> w [B, w_dim]."""
        return cast(StyleGenerator, self.generator).mapping(z)

    def style_of(self, reference: Tensor) -> Tensor:
        """Reference image -> w [B, w_dim]."""
        w: Tensor = self.style_encoder(reference)
        return w

    def generate(self, w: Tensor, additions: Features | None = None) -> tuple[Tensor, Features]:
        """Return the image of a style [B, w_dim] or [B, num_ws, w_dim], and the features before any addition.

        Without additions this is the plain GAN.
        """
        generator = cast(StyleGenerator, self.generator)
        ws = w[:, None].expand(-1, generator.num_ws, -1) if w.ndim == 2 else w
        return generator.synthesis(ws, self.noise, additions)

    def translate(self, x: Tensor, w: Tensor) -> Tensor:
        """Source image and style -> translation, unbounded."""
        return self.generate(w, self.additions(self.encode(x)))[0]

    def examine(self, x: Tensor) -> tuple[Tensor, Features]:
        """Image -> the discriminator's logits [B] and features by resolution."""
        logits, features = cast(FeatureDiscriminator, self.discriminator).examine(x)
        return logits.squeeze(1), features

    def features(self, x: Tensor) -> Features:
        """Image -> the discriminator's features by resolution."""
        return cast(FeatureDiscriminator, self.discriminator).features(x)


def mixed_styles(direction: Direction, z: Tensor, z2: Tensor, probability: float) -> Tensor:
    """Return styles [B, num_ws, w_dim] of z [B, z_dim], with `probability` those of z2 from a random layer on.

    One cut for the whole batch, from torch's global generator (style mixing of Karras et al. 2019, section 3.1).
    """
    layers = cast(StyleGenerator, direction.generator).num_ws
    ws = direction.style(z)[:, None].expand(-1, layers, -1)
    draws = torch.rand(2)
    if float(draws[0]) >= probability:
        return ws
    cut = 1 + int(float(draws[1]) * (layers - 1))
    return torch.cat([ws[:, :cut], direction.style(z2)[:, None].expand(-1, layers - cut, -1)], dim=1)
