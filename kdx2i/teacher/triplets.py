"""Style-mixed triplets (section 3.1): x1 = G'(s1), x2 = G'(s2), y = G'(Phi(s1, s2)), drawn online."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.teacher.stylegan2 import Generator
from kdx2i.training.distributed import shard


@dataclass(frozen=True)
class Triplets:
    """One batch of triplets.

    x1, x2, y: images [B, 3, R, R] in [-1, 1], not clamped. `noise` [B, N]: what x2's style was drawn from, as the
    student is given it. `features`: G'_T(Phi(s1, s2))_l by resolution, what ToRGB of that resolution reads.
    `other_y`: y with the style of the batch's next triplet, where it was asked for.
    """

    x1: Tensor
    x2: Tensor
    y: Tensor
    noise: Tensor
    features: dict[int, Tensor]
    other_y: Tensor | None = None


def mix(ws1: Tensor, ws2: Tensor, layers: int) -> Tensor:
    """Phi(s1, s2): the first `layers` of ws [B, num_ws, D] from s1, the others from s2 (footnote 1).

    A count that leaves either without a layer raises `UserError`.
    """
    if not 0 < layers < ws1.shape[1]:
        raise UserError(
            f"mixing_layers is {layers}, but this teacher has {ws1.shape[1]} layers: choose 1 to {ws1.shape[1] - 1}"
        )
    return torch.cat([ws1[:, :layers], ws2[:, layers:]], dim=1)


def lift(noise: Tensor, z_dim: int) -> Tensor:
    """Return the teacher's z [B, z_dim] of a student's noise [B, N], N at most z_dim: the noise, repeated.

    A fixed linear map, so that the noise determines the style, under which every component of z stays N(0, 1); with
    N = z_dim it is the identity (protocol entry i2i-latent-noise).
    """
    return noise.repeat(1, -(-z_dim // noise.shape[1]))[:, :z_dim]


@torch.no_grad()
def draw_triplets(
    generator: Generator,
    batch: int,
    *,
    layers: int,
    mixing: bool = True,
    truncation: float = 1.0,
    noise_dim: int | None = None,
    lifted: bool = True,
    share: bool = True,
    others: bool = False,
) -> Triplets:
    """Draw a joint batch of triplets from torch's global generator; return this rank's `share` of it, or all.

    The noise maps are the teacher's constant ones in all calls, so that x1 and y agree below the cut (protocol entry
    triplet-noise). The student's noise is the first `noise_dim` components of the z that x2's style comes from, all by
    default; with `lifted` that z is made from them alone. Without `mixing`, x2 and y are x1 (ablation KD*). `others`
    asks for `other_y` too.
    """
    device = next(generator.parameters()).device
    z_dim = generator.config.z_dim
    drawn = torch.randn(2, batch, z_dim)
    z1, z2 = ((shard(z) if share else z).to(device) for z in drawn)
    guiding = z2 if mixing else z1
    noise = guiding[:, :noise_dim]
    if lifted:
        guiding = lift(noise, z_dim)
    ws2 = generator.styles(guiding, truncation_psi=truncation)
    if not mixing:
        image, features = generator.synthesis(ws2, "const")
        return Triplets(image, image, image, noise, features)
    ws1 = generator.styles(z1, truncation_psi=truncation)
    ws = [ws1, ws2, mix(ws1, ws2, layers)]
    ws += [mix(ws1, ws2.roll(-1, 0), layers)] if others else []
    images, features = generator.synthesis(torch.cat(ws), "const")
    x1, x2, y, *other = images.chunk(len(ws))
    return Triplets(x1, x2, y, noise, {r: f.chunk(len(ws))[2] for r, f in features.items()}, *other)
