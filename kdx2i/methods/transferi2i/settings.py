"""Settings of TransferI2I on BigGAN and on StyleGAN.

Without public code, what its article leaves open is as in DeepI2I.
"""

from typing import Annotated, Literal

from pydantic import Field

from kdx2i.methods.families.backbones.settings import BIGGAN, BY_BACKBONE, STYLEGAN, BackboneSettings
from kdx2i.methods.families.biggan.settings import BigGANSettings, BigGANTrain
from kdx2i.methods.families.stylegan.settings import StyleGANSettings, StyleGANTrain
from kdx2i.methods.families.three_phases.settings import Phases


class ComparingPhases(Phases):
    """The phases, and how features of a source and its translation are compared in the last of them."""

    feature_power: Literal[1, 2] = Field(default=1, description="protocol entry transferi2i-features: 1 is L1")


class Train(ComparingPhases, BigGANTrain):
    """Training on BigGAN: one class-conditional GAN for all classes."""

    batch: int = Field(default=16, ge=1)


class TwoClassTrain(ComparingPhases, StyleGANTrain):
    """Training on StyleGAN: a GAN for each of two classes, and each iteration updates both directions once."""


class OnBigGAN(BigGANSettings):
    """Settings of TransferI2I on BigGAN."""

    train: Train = Train()


class OnStyleGAN(StyleGANSettings):
    """Settings of TransferI2I on StyleGAN."""

    train: TwoClassTrain = TwoClassTrain()


class Settings(BackboneSettings):
    """Everything that a preset may say about TransferI2I."""

    train: Annotated[Annotated[Train, BIGGAN] | Annotated[TwoClassTrain, STYLEGAN], BY_BACKBONE] = Train()
