"""Augmentation of the discriminator's input for small data (Karras et al. 2020b, "ADA").

Every transform is applied to a sample with probability p < 1, to real and generated images alike, so that
the generator does not learn it. With p held by a constant the augmentation is fixed; with a target it adapts.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class AugmentSettings:
    """Strengths of the transforms; zero switches one off.

    `probability` is p at the start; `target` (E[sign D(real)], ADA's r_t) makes it adapt, None keeps it.
    `speed_kimg`: thousands of images in which p may go from 0 to 1.
    """

    probability: float = 0.0
    target: float | None = None
    speed_kimg: float = 500.0
    translation: float = 0.125
    scale: float = 0.2
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0


class Augment:
    """Applies the transforms and adapts their probability."""

    def __init__(self, settings: AugmentSettings) -> None:
        self.settings = settings
        self.probability = settings.probability

    def adapt(self, sign_of_real: float, images: int) -> None:
        """Move p towards the target after `images` images whose mean sign of D(real) was given."""
        if self.settings.target is not None:
            move = math.copysign(images / (self.settings.speed_kimg * 1000), sign_of_real - self.settings.target)
            self.probability = min(max(self.probability + move, 0.0), 1.0)

    def __call__(self, images: Tensor) -> Tensor:
        """Transform images [B, 3, H, W] in [-1, 1], differentiably; outside the picture is white (1)."""
        if self.probability == 0.0:
            return images
        return self._colour(self._geometry(images))

    def _gate(self, batch: int, device: torch.device) -> Tensor:
        return (torch.rand(batch, device=device) < self.probability).float()

    def _geometry(self, images: Tensor) -> Tensor:
        s, batch, device = self.settings, images.shape[0], images.device
        side = images.shape[3]
        # Whole pixels: a fraction would blur a small image.
        shift = ((torch.rand(batch, 2, device=device) * 2 - 1) * (s.translation * side)).round() * (2 / side)
        shift = shift * self._gate(batch, device)[:, None]
        scale = torch.exp2(torch.randn(batch, device=device) * s.scale * self._gate(batch, device))
        angle = (torch.rand(batch, device=device) * 2 - 1) * (s.rotation * math.pi / 180)
        angle = angle * self._gate(batch, device)
        cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
        rows = (torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1))
        grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        # grid_sample pads with zero: shifting by one makes the outside white.
        return F.grid_sample(images - 1.0, grid, padding_mode="zeros", align_corners=False) + 1.0

    def _colour(self, images: Tensor) -> Tensor:
        s, batch, device = self.settings, images.shape[0], images.device

        def strength(sigma: float) -> Tensor:
            return (torch.randn(batch, device=device) * sigma * self._gate(batch, device))[:, None, None, None]

        if s.brightness:
            images = images + strength(s.brightness)
        if s.contrast:
            images = images * torch.exp2(strength(s.contrast))
        if s.saturation:
            grey = images.mean(dim=1, keepdim=True)
            images = grey + (images - grey) * torch.exp2(strength(s.saturation))
        return images
