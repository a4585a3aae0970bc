"""DeepI2I's two-class variant in training (`DeepI2I_StyleGAN/train.py`).

First only adaptor and discriminator learn, then the generator too; the encoder stays the teacher's discriminator.
"""

import torch
from torch import Tensor

from kdx2i.methods.stylegan_method import StyleGANTranslation
from kdx2i.methods.stylegan_settings import StyleGANSettings
from kdx2i.training.sampling import BalancedImages


class StyleGANMethod(StyleGANTranslation):
    """DeepI2I on a StyleGAN backbone, for `num_classes` directions; `images` is None when it only translates."""

    def __init__(
        self,
        settings: StyleGANSettings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        super().__init__(settings.networks, settings.train, resolution, num_classes, device, images)
        self.settings = settings

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update every direction; in the first `adaptor_iterations` steps its adaptor and discriminator only."""
        return self.translation_step(trains_generator=step >= self.settings.train.adaptor_iterations)
