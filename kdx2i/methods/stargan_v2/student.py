"""StarGAN v2 as the student of stage 1: one domain, features by resolution (Appendix A.4)."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.methods.stargan_v2.networks import Discriminator, Generator, MappingNetwork, StyleEncoder, build_networks
from kdx2i.methods.stargan_v2.settings import Networks as Sizes


class Student:
    """The `I2IStudent` of StarGAN v2; its mapping network has the one head that stage 2 duplicates."""

    def __init__(self, sizes: Sizes, resolution: int, device: torch.device) -> None:
        self.noise_dim, self.resolution = sizes.latent_dim, resolution
        self._use(build_networks(sizes, resolution, 1, device))

    def _use(self, networks: Mapping[str, nn.Module]) -> None:
        self.networks = networks
        self._generator = cast(Generator, self.networks["generator"])
        self._mapping = cast(MappingNetwork, self.networks["mapping_network"])
        self._style = cast(StyleEncoder, self.networks["style_encoder"])
        self._discriminator = cast(Discriminator, self.networks["discriminator"])

    def with_networks(self, networks: Mapping[str, nn.Module]) -> "Student":
        """Return a student on other networks of the same kind."""
        student = copy.copy(self)
        student._use(networks)
        return student

    def _domain(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), dtype=torch.long, device=x.device)

    def encode(self, x: Tensor) -> tuple[Tensor, Features]:
        """Images [B, 3, R, R] -> bottleneck [B, C, h, h] and encoder features."""
        return self._generator.encode_features(x)

    def style_from_image(self, x: Tensor) -> tuple[Tensor, Features]:
        """Images [B, 3, R, R] -> style [B, S] and style-encoder features."""
        return self._style.style_and_features(x, self._domain(x))

    def style_from_noise(self, z: Tensor) -> Tensor:
        """Noise [B, Z] -> style [B, S]."""
        return cast(Tensor, self._mapping(z, self._domain(z)))

    def decode(self, content: Tensor, style: Tensor) -> tuple[Tensor, Features]:
        """Bottleneck [B, C, h, h] and style [B, S] -> image [B, 3, R, R] and decoder features."""
        return self._generator.decode_features(content, style)

    def discriminate(self, x: Tensor) -> Tensor:
        """Images [B, 3, R, R] -> logits [B]."""
        return cast(Tensor, self._discriminator(x, self._domain(x)))
