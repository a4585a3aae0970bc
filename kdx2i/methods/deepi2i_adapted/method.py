"""DeepI2I* (Appendix B.3) in training and translation."""

import torch

from kdx2i.methods.adapted import AdaptedMethod
from kdx2i.methods.deepi2i_adapted.settings import Settings
from kdx2i.training.sampling import BalancedImages


class Method(AdaptedMethod):
    """DeepI2I* for `num_classes` domains at one resolution; `images` is None when it only translates."""

    def __init__(
        self,
        settings: Settings,
        resolution: int,
        num_classes: int,
        device: torch.device,
        images: BalancedImages | None = None,
    ) -> None:
        self.settings = settings
        super().__init__(settings.networks, settings.train, resolution, num_classes, device, images, auxiliary=False)
