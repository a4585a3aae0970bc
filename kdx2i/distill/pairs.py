"""Pairs of the teacher's images that share their content: x1 = G'(s1) and y = G'(Phi(s1, s2)) of section 3.1."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdx2i.methods.base import Features
from kdx2i.teacher.stylegan2 import Generator
from kdx2i.teacher.triplets import mix
from kdx2i.training.distributed import shard


@dataclass(frozen=True)
class Pairs:
    """One batch of x1 and y, images [B, 3, R, R] in [-1, 1], not clamped, with their features.

    `features_x` and `features_y`: G'_T(s1)_l and G'_T(Phi(s1, s2))_l [B, C, r, r] by resolution r.
    """

    x1: Tensor
    y: Tensor
    features_x: Features
    features_y: Features


@torch.no_grad()
def draw_pairs(generator: Generator, batch: int, *, layers: int, truncation: float = 1.0, share: bool = True) -> Pairs:
    """Draw a joint batch of pairs from torch's global generator; return this rank's `share` of it, or all.

    x2 is not drawn: eqs. (6) to (8) do not read it. Both images have the teacher's constant noise maps, so that
    features below the cut coincide (protocol entry triplet-noise).
    """
    device = next(generator.parameters()).device
    z1, z2 = ((shard(z) if share else z).to(device) for z in torch.randn(2, batch, generator.config.z_dim))
    ws1, ws2 = (generator.styles(z, truncation_psi=truncation) for z in (z1, z2))
    images, features = generator.synthesis(torch.cat([ws1, mix(ws1, ws2, layers)]), "const")
    x1, y = images.chunk(2)
    halves = {r: f.chunk(2) for r, f in features.items()}
    return Pairs(x1, y, {r: f[0] for r, f in halves.items()}, {r: f[1] for r, f in halves.items()})
