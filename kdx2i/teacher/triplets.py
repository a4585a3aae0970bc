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

    x1, x2, y: images [B, 3, R, R] in [-1, 1], not clamped. `z2` [B, Z]: the noise of x2's style. `features`:
    G'_T(Phi(s1, s2))_l by resolution, what ToRGB of that resolution reads.
    """

    x1: Tensor
    x2: Tensor
    y: Tensor
    z2: Tensor
    features: dict[int, Tensor]


def mix(ws1: Tensor, ws2: Tensor, layers: int) -> Tensor:
    """Phi(s1, s2): the first `layers` of ws [B, num_ws, D] from s1, the others from s2 (footnote 1).

    A count that leaves either without a layer raises `UserError`.
    """
    if not 0 < layers < ws1.shape[1]:
        raise UserError(
            f"mixing_layers is {layers}, but this teacher has {ws1.shape[1]} layers: choose 1 to {ws1.shape[1] - 1}"
        )
    return torch.cat([ws1[:, :layers], ws2[:, layers:]], dim=1)


@torch.no_grad()
def draw_triplets(
    generator: Generator, batch: int, *, layers: int, mixing: bool = True, truncation: float = 1.0, share: bool = True
) -> Triplets:
    """Draw a joint batch of triplets from torch's global generator; return this rank's `share` of it, or all.

    The noise maps are the teacher's constant ones in all three calls, so that x1 and y agree below the cut
    (protocol entry triplet-noise). Without `mixing`, x2 and y are x1 (ablation KD*).
    """
    device = next(generator.parameters()).device
    drawn = torch.randn(2, batch, generator.config.z_dim)
    z1, z2 = ((shard(z) if share else z).to(device) for z in drawn)
    ws1 = generator.styles(z1, truncation_psi=truncation)
    if not mixing:
        image, features = generator.synthesis(ws1, "const")
        return Triplets(image, image, image, z1, features)
    ws2 = generator.styles(z2, truncation_psi=truncation)
    images, features = generator.synthesis(torch.cat([ws1, ws2, mix(ws1, ws2, layers)]), "const")
    x1, x2, y = images.chunk(3)
    return Triplets(x1, x2, y, z2, {r: f.chunk(3)[2] for r, f in features.items()})
