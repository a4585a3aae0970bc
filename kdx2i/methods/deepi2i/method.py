"""DeepI2I in training and translation, on the backbone that the settings name."""

import torch

from kdx2i.methods.deepi2i.biggan import BigGANMethod
from kdx2i.methods.deepi2i.settings import Settings
from kdx2i.methods.deepi2i.stylegan import StyleGANMethod
from kdx2i.methods.stylegan_settings import StyleGANSettings
from kdx2i.training.sampling import BalancedImages


def Method(  # noqa: N802 - the name that the stages call
    settings: Settings,
    resolution: int,
    num_classes: int,
    device: torch.device,
    images: BalancedImages | None = None,
) -> BigGANMethod | StyleGANMethod:
    """Return DeepI2I for `num_classes` domains; `images` is None when it only translates."""
    on = settings.on_backbone()
    if isinstance(on, StyleGANSettings):
        return StyleGANMethod(on, resolution, num_classes, device, images)
    return BigGANMethod(on, resolution, num_classes, device, images)
