"""TransferI2I in training and translation, on the backbone that the settings name."""

import torch

from kdx2i.methods.transferi2i.biggan import BigGANMethod
from kdx2i.methods.transferi2i.settings import Settings, TwoClassSettings
from kdx2i.methods.transferi2i.stylegan import StyleGANMethod
from kdx2i.training.sampling import BalancedImages


def Method(  # noqa: N802 - the name that the stages call
    settings: Settings,
    resolution: int,
    num_classes: int,
    device: torch.device,
    images: BalancedImages | None = None,
) -> BigGANMethod | StyleGANMethod:
    """Return TransferI2I for `num_classes` domains, of which StyleGAN takes two; `images` is None to translate only."""
    on = settings.on_backbone()
    if isinstance(on, TwoClassSettings):
        return StyleGANMethod(on, resolution, num_classes, device, images)
    return BigGANMethod(on, resolution, num_classes, device, images)
