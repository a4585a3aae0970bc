"""DeepI2I's two-class variant in training (`DeepI2I_StyleGAN/train.py` of yaxingwang/DeepI2I).

First only adaptor and discriminator learn, then the generator too; the encoder stays the teacher's discriminator.
"""

from torch import Tensor

from kdx2i.methods.families.stylegan.method import StyleGANTranslation
from kdx2i.methods.families.stylegan.settings import StyleGANSettings


class StyleGANMethod(StyleGANTranslation[StyleGANSettings]):
    """DeepI2I on a StyleGAN backbone, with a direction into each class."""

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Update every direction; in the first `adaptor_iterations` steps its adaptor and discriminator only."""
        return self.translation_step(trains_generator=step >= self.settings.train.adaptor_iterations)
