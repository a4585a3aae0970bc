"""What DeepI2I and TransferI2I on BigGAN share: networks, averages, optimisers, start from a teacher, translation."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.methods import biggan_translation as flow
from kdx2i.methods.biggan_settings import BigGANNetworks, BigGANTrain
from kdx2i.methods.translation import TranslationMethod, averages_of
from kdx2i.teacher.biggan import Discriminator, Generator
from kdx2i.training.optimizers import adam
from kdx2i.training.sampling import BalancedImages

ADAM_EPS = 1e-6


class BigGANTranslation(TranslationMethod):
    """Translation into the first `num_classes` of the teacher's classes; a subclass has `training_step`.

    The encoder has an optimiser only where it learns (`trains_encoder`).
    """

    modes = ("latent",)
    title: str
    """The method's name in messages."""

    def __init__(
        self,
        sizes: BigGANNetworks,
        train: BigGANTrain,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
        *,
        trains_encoder: bool = False,
    ) -> None:
        super().__init__(train, num_classes, device, images)
        self.sizes = sizes
        self.networks = flow.build(sizes, resolution, num_classes, device)
        self.generator = cast(Generator, self.networks["generator"])
        self.discriminator = cast(Discriminator, self.networks["discriminator"])
        self.encoder = cast(Discriminator, self.networks["encoder"].requires_grad_(trains_encoder))
        self.averages = averages_of(self.networks, flow.TRANSLATING)
        rates = {
            "generator": train.generator_rate,
            "adaptor": train.discriminator_rate,
            "discriminator": train.discriminator_rate,
        }
        if trains_encoder:
            rates["encoder"] = train.discriminator_rate
        self.optimizers = {
            name: adam(self.networks[name].parameters(), rate, (train.beta1, train.beta2), eps=ADAM_EPS)
            for name, rate in rates.items()
        }

    def start_from_teacher(self, path: Path) -> None:
        """Copy a BigGAN teacher's generator and discriminator; the encoder starts as that discriminator too."""
        flow.copy_teacher(self.networks, path, self.sizes.class_start)
        for name, average in self.averages.items():
            average.load_state_dict(self.networks[name].state_dict())

    @torch.no_grad()
    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate x [B, 3, R, R] to the classes y [B] with noise, in [-1, 1]; norms use running statistics."""
        if mode not in self.modes:
            raise UserError(
                f"{self.title} on BigGAN has no mode `{mode}`: it takes its style from noise (mode `latent`)"
            )
        return flow.translate(self.averages, x.to(self.device), y.to(self.device), self.sizes.added)
