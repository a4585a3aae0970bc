"""TransferI2I in training and translation, on the backbone that the settings name."""

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.transferi2i.biggan import BigGANMethod
from kdx2i.methods.transferi2i.settings import OnBigGAN, OnStyleGAN, Settings
from kdx2i.methods.transferi2i.stylegan import StyleGANMethod


def build(setup: MethodSetup[Settings]) -> BigGANMethod | StyleGANMethod:
    """Return TransferI2I on the backbone of the settings; `UserError` for more than two classes on StyleGAN."""
    if setup.settings.on_stylegan:
        return StyleGANMethod(setup.with_settings(setup.settings.narrowed(OnStyleGAN)))
    return BigGANMethod(setup.with_settings(setup.settings.narrowed(OnBigGAN)))
