"""The protocol through which stage 1 distils a model of text, speech or label maps (section 3.3)."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from kdx2i.methods.base import Features


class X2IStudent(Protocol):
    """A conditional generator with its discriminator: one protocol for text, speech and label maps.

    `networks` has one named `discriminator` (a `ModuleDict` where there are several); the others generate. Noise is
    [B, Z] ~ N(0, I), Z = `noise_dim`: two calls with the same noise and condition draw the same image, so what else is
    drawn at random inside a generator comes from it or is left out. A condition c is a vector [B, C], C =
    `condition_dim`, or what `constant_condition` returns: a student of label maps, whose own condition are one-hot maps
    and style codes, says how a vector stands in for them.
    """

    networks: Mapping[str, nn.Module]
    noise_dim: int
    condition_dim: int
    resolution: int

    def with_networks(self, networks: Mapping[str, nn.Module]) -> "X2IStudent":
        """Return the same student on other networks, e.g. its averages."""

    def constant_condition(self, value: float, batch: int) -> Tensor:
        """Return the condition that is `value` everywhere (the special case of section 3.3), `batch` times.

        A vector [B, C], or for label maps all maps [B, L, R, R] filled with it. A student with conditioning
        augmentation says on which side of it the constant lies.
        """

    def generate(self, noise: Tensor, c: Tensor, first: Tensor | None) -> tuple[Tensor, Features]:
        """Return the image [B, 3, R, R] and the features G_S(z, first, c)_l [B, C, r, r] by resolution r.

        `first` [B, C, r, r] is summed with the student's own feature of that size, whose width it has; with None
        (stage 2) nothing is added. The feature that is returned at its resolution is the sum.
        """

    def discriminate(self, x: Tensor, c: Tensor) -> Tensor:
        """Return logits [B] or [B, N] of images x [B, 3, R, R] under the condition c: one for each head and place."""
