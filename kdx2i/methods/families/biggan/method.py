"""What DeepI2I and TransferI2I on BigGAN share: networks, averages, optimisers, start from a teacher, translation."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.biggan.networks import TRANSLATING, build_networks, copy_teacher, weighted
from kdx2i.methods.families.biggan.settings import BigGANSettings
from kdx2i.methods.translation import TranslationMethod, averages_of
from kdx2i.teacher.biggan import Discriminator, Features, Generator

ADAM_EPS = 1e-6

BigGANSettingsT = TypeVar("BigGANSettingsT", bound=BigGANSettings)


class BigGANTranslation(TranslationMethod[BigGANSettingsT]):
    """Translation into the first classes of the teacher's; styles are drawn only.

    A subclass has `training_step`. The encoder has an optimiser only where it learns (`trains_encoder`).
    """

    guidances = ("latent",)

    def __init__(self, setup: MethodSetup[BigGANSettingsT], *, trains_encoder: bool = False) -> None:
        super().__init__(setup)
        t = self.settings.train
        self.networks = build_networks(self.settings.networks, setup.resolution, setup.num_classes, setup.device)
        self.generator = cast(Generator, self.networks["generator"])
        self.discriminator = cast(Discriminator, self.networks["discriminator"])
        self.encoder = cast(Discriminator, self.networks["encoder"].requires_grad_(trains_encoder))
        self.averages = averages_of(self.networks, TRANSLATING)
        slow = ("adaptor", "discriminator", "encoder") if trains_encoder else ("adaptor", "discriminator")
        rates = {"generator": t.generator_rate} | dict.fromkeys(slow, t.discriminator_rate)
        self.optimizers = self.adams(rates, eps=ADAM_EPS)

    def start_from_teacher(self, path: Path) -> None:
        """Copy a BigGAN teacher's generator and discriminator; the encoder starts as that discriminator too."""
        copy_teacher(self.networks, path, self.settings.networks.class_start)
        self.copy_to_averages()

    def draw_noise(self, *shape: int) -> Tensor:
        """Draw noise [*shape, Z] for the generator from torch's global generator, on the CPU."""
        return torch.randn(*shape, self.generator.config.noise_dim)

    def render(self, networks: Mapping[str, nn.Module], z: Tensor, y: Tensor, encoded: Features) -> Tensor:
        """Return images [B, 3, R, R] of noise [B, Z], classes [B] and the encoder's features of the sources."""
        image: Tensor = networks["generator"](
            z, y, weighted(networks["adaptor"](encoded), self.settings.networks.added)
        )
        return image

    def _translate(self, x: Tensor, y: Tensor, references: Tensor | None) -> Tensor:
        # The averages are in evaluation mode: norms use running statistics.
        encoded = cast(Discriminator, self.averages["encoder"]).features(x)
        return self.render(self.averages, self.draw_noise(len(x)).to(self.device), y, encoded)
