"""SEAN as the student of stage 1 (section 3.3, Appendix A.3): how a vector and a constant stand in for a label map.

The semantic encoder gives a vector c, and SEAN takes a one-hot map and a style code for each of its regions (protocol
entry sean-pseudo-condition).
"""

import copy
import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.methods.sean.build import build_networks
from kdx2i.methods.sean.discriminator import Discriminator
from kdx2i.methods.sean.networks import Generator
from kdx2i.methods.sean.settings import Networks as Sizes


class Student:
    """Generator and discriminator without data: no style image, no map, no noise but that of its layers.

    `noise_dim` counts the values of that noise, so a vector of noise [B, Z] says all that is random in an image.
    A condition is a vector [B, C], or the constant one, maps [B, K, R, R]:

    - `codes`: C is the length of a style code; the map is 1 everywhere and c the code of its regions, of which, as in
      the official code, the last label's counts. The discriminator's map has the means of K equal parts of c, of the
      size of c's numbers, at each pixel.
    - `map`: C is the number of labels; c is the value of the map at each pixel, in both networks, and codes are zero.
    - A constant is the map; codes are zero: the branch of styles is not distilled.
    """

    def __init__(self, sizes: Sizes, resolution: int, device: torch.device) -> None:
        self.sizes, self.resolution, self.device = sizes, resolution, device
        generator, discriminator = build_networks(sizes, resolution, device)
        self.condition_dim = sizes.style_length if sizes.pseudo_condition == "codes" else sizes.label_nc
        self._use({"generator": generator, "discriminator": discriminator})
        self.noise_dim = generator.noise_dim

    def _use(self, networks: Mapping[str, nn.Module]) -> None:
        self.networks = {name: networks[name] for name in ("generator", "discriminator")}
        self._generator = cast(Generator, networks["generator"])
        self._discriminator = cast(Discriminator, networks["discriminator"])

    def with_networks(self, networks: Mapping[str, nn.Module]) -> "Student":
        """Return a student on other networks of the same kind."""
        student = copy.copy(self)
        student._use(networks)
        return student

    def constant_condition(self, value: float, batch: int) -> Tensor:
        """Return maps [B, K, R, R] that are `value` everywhere: 1 in the generator and 0 in the discriminator."""
        side = (self.resolution, self.resolution)
        return torch.full((batch, self.sizes.label_nc, *side), value, device=self.device)

    def _map_and_codes(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map [B, K, R, R] and the codes [B, K, S] that the generator gets for a condition."""
        n, batch = self.sizes, len(c)
        zero = c.new_zeros(batch, n.label_nc, n.style_length)
        if c.ndim == 4:
            return c, zero
        if n.pseudo_condition == "map":
            return self._spread(c), zero
        return self._spread(c.new_ones(batch, n.label_nc)), c[:, None].expand_as(zero)

    def _spread(self, values: Tensor) -> Tensor:
        """Return values [B, K] as maps [B, K, R, R]."""
        return values[:, :, None, None].expand(-1, -1, self.resolution, self.resolution)

    def generate(self, noise: Tensor, c: Tensor, first: Tensor | None) -> tuple[Tensor, Features]:
        """Return the image [B, 3, R, R] and the features G_S(z, first, c)_l [B, C, r, r] by resolution r.

        `noise` [B, Z]; `c` [B, C] or [B, K, R, R]; `first` [B, C, r, r] is summed with the generator's own feature of
        that size (protocol entry sean-first-feature), and the sum is what is returned there.
        """
        segmap, codes = self._map_and_codes(c)
        return self._generator.with_features(
            segmap, codes, first=first, noise=self._generator.noise_from(noise.to(c.dtype))
        )

    def discriminate(self, x: Tensor, c: Tensor) -> Tensor:
        """Return the logits [B, N] of images x [B, 3, R, R] under a condition, of all places and scales."""
        n, segmap = self.sizes, c
        if c.ndim == 2 and n.pseudo_condition == "map":
            segmap = self._spread(c)
        elif c.ndim == 2:
            folded = F.adaptive_avg_pool1d(c[:, None], n.label_nc)[:, 0]
            segmap = self._spread(folded * math.sqrt(max(1.0, c.shape[1] / n.label_nc)))
        judged = self._discriminator(torch.cat([segmap.to(x.dtype), x], 1))
        return torch.cat([scale[-1].flatten(1) for scale in judged], 1)
