"""The networks of translation between StyleGAN features, and what is asked of the generators they work with.

Backbones are StyleGAN-1 (`kdx2i.teacher.stylegan1`, the official one) and StyleGAN2 (`kdx2i.teacher.stylegan2`); both
have one interface. Images are [B, 3, R, R] in [-1, 1].
"""

from collections.abc import Mapping
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from kdx2i.methods.base import Features
from kdx2i.teacher import stylegan1, stylegan2
from kdx2i.teacher.stylegan1.layers import ConvBlock
from kdx2i.teacher.stylegan2.layers import EqualizedLinear

State = Mapping[str, Tensor]
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
        """Return the features [B, C, r, r] of images [B, 3, R, R] by resolution r."""

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
        """Adapt the features [B, C, r, r] of those of the adaptor's resolutions r that are given."""
        blocks = zip(self.resolutions, self.progression, strict=True)
        return {r: block(features[r]) for r, block in blocks if r in features}


class StyleEncoder(nn.Module):
    """A discriminator whose last linear layer gives styles, one for each of `branches` classes.

    It starts at the mean style: the new layer has zero weights, and `take_over` puts that style into its bias.
    `trunk`, a discriminator without its last layer, must not mix the images of a batch.
    """

    def __init__(self, trunk: nn.Module, w_dim: int, branches: int = 1) -> None:
        super().__init__()
        self.trunk, self.w_dim, self.branches = trunk, w_dim, branches
        self.head = EqualizedLinear(cast(FeatureDiscriminator, trunk).semantic_dim, branches * w_dim)
        nn.init.zeros_(self.head.weight)

    @torch.no_grad()
    def take_over(self, discriminator: State, mean_style: Tensor | None = None) -> None:
        """Copy the layers of a discriminator and, if given, let every branch start at the mean style [w_dim]."""
        self.trunk.load_state_dict(part_of(discriminator, self.trunk))
        if mean_style is not None:
            self.head.bias.copy_(mean_style.repeat(self.branches))

    def forward(self, image: Tensor, y: Tensor | None = None) -> Tensor:
        """Images [B, 3, R, R] -> styles w [B, w_dim] of the branches y [B], or of the first branch."""
        styles = self.head(cast(FeatureDiscriminator, self.trunk).semantic(image))
        styles = styles.reshape(len(image), self.branches, self.w_dim)
        return styles[:, 0] if y is None else pick(styles, y)


def part_of(state: State, module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a teacher's network that a module with the same names takes over."""
    return {name: state[name] for name in module.state_dict()}


def pick(values: Tensor, y: Tensor) -> Tensor:
    """[B, D, ...] and y int64 [B] -> [B, ...], the entry of each sample's class."""
    return values[torch.arange(len(y), device=y.device), y]


def without_last_layer(discriminator: nn.Module) -> nn.Module:
    """Remove the layer after `semantic` from a discriminator of either kind; return it."""
    if isinstance(discriminator, stylegan1.Discriminator):
        del discriminator.linear
    else:
        del cast(stylegan2.Discriminator, discriminator).b4.out
    return discriminator
