"""DeepI2I in training and translation, on the backbone that the settings name."""

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.deepi2i.biggan import BigGANMethod
from kdx2i.methods.deepi2i.settings import OnBigGAN, Settings
from kdx2i.methods.deepi2i.stylegan import StyleGANMethod
from kdx2i.methods.families.stylegan.settings import StyleGANSettings


def build(setup: MethodSetup[Settings]) -> BigGANMethod | StyleGANMethod:
    """Return DeepI2I on the backbone of the settings."""
    if setup.settings.on_stylegan:
        return StyleGANMethod(setup.with_settings(setup.settings.narrowed(StyleGANSettings)))
    return BigGANMethod(setup.with_settings(setup.settings.narrowed(OnBigGAN)))
