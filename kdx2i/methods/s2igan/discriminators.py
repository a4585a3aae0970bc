"""Discriminators and relation supervisor of S2IGAN (`models/model.py` of xinshengwang/S2IGAN), official names.

The official networks end in a sigmoid and the losses are binary cross entropies; here the networks return the logits
and the losses take them, which computes the same.
"""

from typing import cast

import torch
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.methods.s2igan.networks import conv3x3
from kdx2i.methods.shared_layers import spread

MAP = 4
"""The side of the map that the heads see."""

RELATIONS = 4
"""Logits of the relation supervisor; the official labels are 0 (same image), 1 (similar or generated), 2 (wrong)."""


def down_block(inputs: int, outputs: int) -> list[nn.Module]:
    """Return a 4x4 convolution of stride 2, batch norm and LeakyReLU."""
    return [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]


def same_block(inputs: int, outputs: int) -> list[nn.Module]:
    """Return a 3x3 convolution, batch norm and LeakyReLU."""
    return [conv3x3(inputs, outputs), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]


class Discriminator(nn.Module):
    """D_NET64, D_NET128 or D_NET256, by `resolution`; the condition is mu [B, C] of the conditioning augmentation.

    In stage 1 of the distillation mu is that of a pseudo-condition. 64 px have four halvings; each doubling above adds
    one more (`img_code_s32`, `img_code_s64`) and a convolution back to the width of the heads. Smaller images, which
    the official code has none of, have fewer halvings and narrower heads.
    """

    def __init__(self, resolution: int, df_dim: int, condition_dim: int) -> None:
        super().__init__()
        halvings = resolution.bit_length() - MAP.bit_length()
        if resolution & resolution - 1 or halvings < 1:
            raise UserError(f"a discriminator of s2igan sees images of 8, 16, 32, ... px, not of {resolution} px")
        first = min(halvings, 4)
        width = df_dim << first - 1
        layers: list[nn.Module] = [nn.Conv2d(3, df_dim, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        for number in range(first - 1):
            layers += down_block(df_dim << number, df_dim << number + 1)
        self.trunk = [f"img_code_s{1 << first}"]
        self.add_module(self.trunk[0], nn.Sequential(*layers))
        further = halvings - first
        for number in range(further):
            self._append(f"img_code_s{32 << number}", down_block(width << number, width << number + 1))
        for number in range(further):
            inputs = width << further - number
            self._append(f"img_code_s{16 << further}_{number + 1}", same_block(inputs, inputs // 2))
        self.logits = nn.Sequential(nn.Conv2d(width, 1, MAP, MAP))
        self.jointConv = nn.Sequential(*same_block(condition_dim + width, width))
        self.uncond_logits = nn.Sequential(nn.Conv2d(width, 1, MAP, MAP))

    def _append(self, name: str, layers: list[nn.Module]) -> None:
        self.trunk.append(name)
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, images: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return conditional and unconditional logits [B] of images [B, 3, r, r] with conditions [B, C].

        In training mode its batch norms use the statistics of the call: real, wrong and generated images come apart.
        """
        x = images
        for name in self.trunk:
            x = getattr(self, name)(x)
        joint = self.jointConv(torch.cat([spread(condition, x), x], 1))
        conditional: Tensor = self.logits(joint)
        unconditional: Tensor = self.uncond_logits(x)
        return conditional.flatten(), unconditional.flatten()


class RelationSupervisor(nn.Module):
    """MD_NET: how two images are related, by their embeddings of length `embedding` (1024 in the official code)."""

    def __init__(self, embedding: int = 1024, hidden: int = 128) -> None:
        super().__init__()
        self.L1 = nn.Linear(2 * embedding, hidden)
        self.L2 = nn.Linear(hidden, RELATIONS)
        self.b1 = nn.BatchNorm1d(hidden)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return logits [B, 4] of pairs of embeddings [B, E]."""
        return cast(Tensor, self.L2(torch.relu(self.b1(self.L1(torch.cat([first, second], 1))))))
