"""S2IGAN as the student of stage 1 for speech (section 3.3, Appendix A.2)."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.methods.base import Features
from kdx2i.methods.s2igan.discriminators import Discriminator
from kdx2i.methods.s2igan.method import build_networks
from kdx2i.methods.s2igan.networks import Generator
from kdx2i.methods.s2igan.settings import Networks

DISCRIMINATOR = "discriminator"


class Student:
    """Generator and discriminators under pseudo-conditions [B, S] in the place of speech embeddings.

    No utterance is heard, so no encoder is loaded. The noise [B, Z + C] is the generator's and that of its conditioning
    augmentation. The last image is the student's: the heads of the smaller ones are not distilled, and the
    discriminators see the image reduced to their size (protocol entry s2igan-distilled-images). Constants lie before
    the augmentation, or with `constant_side` `condition` behind it, as conditions [B, C].
    """

    def __init__(self, sizes: Networks, resolution: int, device: torch.device) -> None:
        if sizes.constant_side == "condition" and sizes.speech_dim == sizes.condition_dim:
            raise UserError("with constant_side `condition` speech_dim and condition_dim of s2igan have to differ")
        self.sizes, self.resolution, self.device = sizes, resolution, device
        self.noise_dim, self.condition_dim = sizes.noise_dim + sizes.condition_dim, sizes.speech_dim
        built = build_networks(sizes, resolution, device, relation=False)
        judges = {name.removeprefix(DISCRIMINATOR): built.pop(name) for name in list(built) if DISCRIMINATOR in name}
        self._use({**built, DISCRIMINATOR: nn.ModuleDict(judges)})

    def _use(self, networks: Mapping[str, nn.Module]) -> None:
        self.networks = {name: networks[name] for name in ("generator", DISCRIMINATOR)}
        self._generator = cast(Generator, networks["generator"])
        self._judges = cast(nn.ModuleDict, networks[DISCRIMINATOR])

    def with_networks(self, networks: Mapping[str, nn.Module]) -> "Student":
        """Return a student on other networks of the same kind."""
        student = copy.copy(self)
        student._use(networks)
        return student

    def constant_condition(self, value: float, batch: int) -> Tensor:
        """Return conditions that are `value` everywhere: [B, S], or [B, C] behind the augmentation."""
        width = self.condition_dim if self.sizes.constant_side == "embedding" else self.sizes.condition_dim
        return torch.full((batch, width), value, device=self.device)

    def _is_behind(self, c: Tensor) -> bool:
        """Tell whether conditions lie behind the augmentation."""
        return self.sizes.constant_side == "condition" and c.shape[1] == self.sizes.condition_dim

    def generate(self, noise: Tensor, c: Tensor, first: Tensor | None) -> tuple[Tensor, Features]:
        """Noise [B, Z + C], conditions [B, S] or [B, C], first feature [B, C, r, r] -> the last image and features."""
        z, eps = noise[:, : self.sizes.noise_dim], noise[:, self.sizes.noise_dim :]
        if self._is_behind(c):
            images, features = self._generator.render(z, c, first)
            return images[-1], features
        made = self._generator(z, c, eps, first)
        return made.images[-1], made.features

    def discriminate(self, x: Tensor, c: Tensor) -> Tensor:
        """Images [B, 3, R, R] under conditions [B, S] or [B, C] -> logits [B, 2 N] of N discriminators.

        Their condition is mu of the augmentation, which no loss of the discriminators changes.
        """
        with torch.no_grad():
            mu = c if self._is_behind(c) else self._generator.ca_net(c)[0]
        logits = []
        for side, judge in self._judges.items():
            seen = x if int(side) == x.shape[-1] else F.adaptive_avg_pool2d(x, int(side))
            logits += cast(Discriminator, judge)(seen, mu)
        return torch.stack(logits, dim=1)
