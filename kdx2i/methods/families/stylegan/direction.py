"""Translation into one class: encoder, adaptor and generator together.

An encoder (the layout of a discriminator) gives features of the source at several resolutions, an adaptor carries them
over, and they are added, weighted, to the activations of a StyleGAN generator, whose style comes from noise or from a
reference image. Images are [B, 3, R, R] in [-1, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.methods.families.stylegan.networks import FeatureDiscriminator, NoiseMode, StyleGenerator


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
        """Source images [B, 3, R, R] -> the encoder's features [B, C, r, r] that the adaptor needs, by resolution r."""
        features = cast(FeatureDiscriminator, self.encoder).features(x)
        return {r: features[r] for r, weight in self.weights.items() if weight != 0}

    def additions(self, features: Features) -> Features:
        """The encoder's features -> what is added to the generator's, weighted."""
        return {r: self.weights[r] * adapted for r, adapted in self.adaptor(features).items()}

    def style(self, z: Tensor) -> Tensor:
        """z [B, z_dim] -> w [B, w_dim]."""
        return cast(StyleGenerator, self.generator).mapping(z)

    def style_of(self, reference: Tensor) -> Tensor:
        """Reference images [B, 3, R, R] -> w [B, w_dim]."""
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
        """Source images [B, 3, R, R] and styles [B, w_dim] -> translations [B, 3, R, R], unbounded."""
        return self.generate(w, self.additions(self.encode(x)))[0]

    def examine(self, x: Tensor) -> tuple[Tensor, Features]:
        """Images [B, 3, R, R] -> the discriminator's logits [B] and features by resolution."""
        logits, features = cast(FeatureDiscriminator, self.discriminator).examine(x)
        return logits.squeeze(1), features

    def features(self, x: Tensor) -> Features:
        """Images [B, 3, R, R] -> the discriminator's features [B, C, r, r] by resolution r."""
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
