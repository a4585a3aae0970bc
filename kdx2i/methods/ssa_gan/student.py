"""SSA-GAN as the student of stage 1 for text (section 3.3, Appendix A.1)."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.methods.ssa_gan.method import build_networks
from kdx2i.methods.ssa_gan.networks import Discriminator, Generator
from kdx2i.methods.ssa_gan.settings import Networks


class Student:
    """Generator and discriminator under pseudo-conditions [B, D] of the width of a sentence vector.

    No caption is read, so no encoder is loaded. The norms use the statistics of a batch in training, of x1 and y
    together where both pass at once.
    """

    def __init__(self, sizes: Networks, resolution: int, device: torch.device) -> None:
        self.noise_dim, self.condition_dim, self.resolution = sizes.noise_dim, sizes.condition_dim, resolution
        self._use(build_networks(sizes, resolution, device))

    def _use(self, networks: Mapping[str, nn.Module]) -> None:
        self.networks = networks
        self._generator = cast(Generator, networks["generator"])
        self._discriminator = cast(Discriminator, networks["discriminator"])

    def with_networks(self, networks: Mapping[str, nn.Module]) -> "Student":
        """Return a student on other networks of the same kind."""
        student = copy.copy(self)
        student._use(networks)
        return student

    def constant_condition(self, value: float, batch: int) -> Tensor:
        """Return conditions [B, D] that are `value` everywhere."""
        return torch.full((batch, self.condition_dim), value, device=self._generator.fc.weight.device)

    def generate(self, noise: Tensor, c: Tensor, first: Tensor | None) -> tuple[Tensor, Features]:
        """Noise [B, Z], conditions [B, D], first feature [B, C, r, r] -> image [B, 3, R, R] and block outputs."""
        image, features, _ = self._generator.render(noise, c, first)
        return image, features

    def discriminate(self, x: Tensor, c: Tensor) -> Tensor:
        """Images [B, 3, R, R] under conditions [B, D] -> logits [B]."""
        return self._discriminator.discriminate(x, c)
