"""A student of section 3.3 with a few thousand parameters at 16 px, and its distillation from a random teacher."""

import copy
from collections.abc import Mapping
from typing import Any

import tiny
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.distill.transfers import TRANSFERS, TransferSettings
from kdx2i.distill.x2i import X2IDistillation
from kdx2i.methods.base import Features
from kdx2i.methods.conditional_settings import X2IDistillSettings

RESOLUTION, NOISE, CONDITION = 16, 5, 6
DEFAULTS: dict[str, Any] = {"batch": 4, "mixing_layers": 3}


class Generator(nn.Module):
    """Noise [B, Z] to 4 px, then blocks that c [B, C] modulates; the first feature enters at 8 px."""

    def __init__(self, widths: Mapping[int, int]) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.fc = nn.Linear(NOISE, widths[4] * 16)
        sides = sorted(widths)
        self.convs = nn.ModuleDict({str(r): nn.Conv2d(widths[r // 2], widths[r], 3, padding=1) for r in sides if r > 4})
        self.norms = nn.ModuleDict({str(r): nn.BatchNorm2d(widths[r], affine=False) for r in sides if r > 4})
        self.styles = nn.ModuleDict({str(r): nn.Linear(CONDITION, 2 * widths[r]) for r in sides if r > 4})
        self.to_rgb = nn.Conv2d(widths[sides[-1]], 3, 3, padding=1)

    def forward(self, noise: Tensor, c: Tensor, first: Tensor | None) -> tuple[Tensor, Features]:
        x = self.fc(noise).view(-1, self.widths[4], 4, 4)
        features = {4: x}
        for name, conv in self.convs.items():
            scale, shift = self.styles[name](c)[:, :, None, None].chunk(2, dim=1)
            x = self.norms[name](conv(F.interpolate(x, scale_factor=2)))
            x = F.leaky_relu((1 + scale) * x + shift, 0.2)
            if first is not None and first.shape[-1] == int(name):
                x = x + first
            features[int(name)] = x
        return self.to_rgb(x), features


class Discriminator(nn.Module):
    """Two convolutions; c [B, C] enters by an inner product."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, width, 4, 4), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 4), nn.LeakyReLU(0.2)
        )
        self.out, self.condition = nn.Linear(width, 1), nn.Linear(CONDITION, width)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.main(x).flatten(2).mean(dim=2)
        return (self.out(h) + (self.condition(c) * h).sum(dim=1, keepdim=True))[:, 0]


class Student:
    """The `X2IStudent` made of both."""

    noise_dim, condition_dim, resolution = NOISE, CONDITION, RESOLUTION

    def __init__(self, widths: Mapping[int, int]) -> None:
        self.networks: Mapping[str, nn.Module] = {"generator": Generator(widths), "discriminator": Discriminator()}

    def with_networks(self, networks: Mapping[str, nn.Module]) -> "Student":
        student = copy.copy(self)
        student.networks = networks
        return student

    def constant_condition(self, value: float, batch: int) -> Tensor:
        return torch.full((batch, CONDITION), value)

    def generate(self, noise: Tensor, c: Tensor, first: Tensor | None) -> tuple[Tensor, Features]:
        image, features = self.networks["generator"](noise, c, first)
        return image, features

    def discriminate(self, x: Tensor, c: Tensor) -> Tensor:
        logits: Tensor = self.networks["discriminator"](x, c)
        return logits


def student(seed: int = 1, **widths: int) -> Student:
    """Return a random student of 6 channels at 4 and 8 px and 3 at 16 px; the teacher has 8, 8 and 4."""
    torch.manual_seed(seed)
    return Student({4: 6, 8: 6, 16: 3} | {int(r[1:]): width for r, width in widths.items()})


def distillation(transfer: str | TransferSettings = "kd", *, seed: int = 1, **changes: Any) -> X2IDistillation:
    """Return the distillation of a random teacher of 16 px into such a student."""
    settings = X2IDistillSettings(**(DEFAULTS | changes))
    kept = TRANSFERS[transfer] if isinstance(transfer, str) else transfer
    return X2IDistillation(student(seed), tiny.teacher(RESOLUTION), settings, kept, tiny.CPU)
