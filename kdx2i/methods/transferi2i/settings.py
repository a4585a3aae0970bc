"""Settings of TransferI2I on BigGAN and on StyleGAN (`kdx2i.methods.backbone_settings`).

Without public code, what its article leaves open is as in DeepI2I.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kdx2i.methods.backbone_settings import BIGGAN, BY_BACKBONE, STYLEGAN, BackboneSettings, Networks
from kdx2i.methods.biggan_settings import BigGANTrain
from kdx2i.methods.settings import I2IDistillSettings, StrictSettings
from kdx2i.methods.stylegan_settings import StyleGANNetworks, StyleGANTrain


class Phases(StrictSettings):
    """Three phases: the GAN learns the data set, the adaptor the GAN's features, then the translation."""

    iterations: int = Field(default=120_000, ge=1, description="of all phases (protocol entry transferi2i-length)")
    source_target_iterations: int = Field(default=10_000, ge=0, description="fine-tuning of the GAN on the data set")
    adaptor_iterations: int = Field(default=10_000, ge=0, description="self-initialisation, without data")
    lambda_aux: float = Field(default=1.0, ge=0, description="protocol entry transferi2i-auxiliary")
    feature_power: Literal[1, 2] = Field(default=1, description="protocol entry transferi2i-features: 1 is L1")

    @property
    def first_iterations(self) -> int:
        """Iterations before the translation."""
        return self.source_target_iterations + self.adaptor_iterations

    @model_validator(mode="after")
    def _translation_follows(self) -> "Phases":
        if self.first_iterations >= self.iterations:
            raise ValueError("iterations must exceed source_target_iterations + adaptor_iterations: they come first")
        return self


class Train(Phases, BigGANTrain):
    """Training on BigGAN: one class-conditional GAN for all classes."""

    batch: int = Field(default=16, ge=1)


class TwoClassTrain(Phases, StyleGANTrain):
    """Training on StyleGAN: a GAN for each of two classes, and each iteration updates both directions once."""


class BigGANSettings(StrictSettings):
    """Settings of TransferI2I on BigGAN."""

    networks: Networks = Networks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: Train = Train()


class TwoClassSettings(StrictSettings):
    """Settings of TransferI2I on StyleGAN."""

    networks: StyleGANNetworks = StyleGANNetworks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: TwoClassTrain = TwoClassTrain()


class Settings(BackboneSettings):
    """Everything that a preset may say about TransferI2I."""

    train: Annotated[Annotated[Train, BIGGAN] | Annotated[TwoClassTrain, STYLEGAN], BY_BACKBONE] = Train()

    def on_backbone(self) -> BigGANSettings | TwoClassSettings:
        """Return the settings as those of their backbone."""
        if isinstance(self.networks, StyleGANNetworks) and isinstance(self.train, TwoClassTrain):
            return TwoClassSettings(networks=self.networks, distill=self.distill, train=self.train)
        assert isinstance(self.networks, Networks) and isinstance(self.train, Train)
        return BigGANSettings(networks=self.networks, distill=self.distill, train=self.train)


def generator_updates(train: Mapping[str, Any]) -> int:
    """Return how often the generator is updated as a translator."""
    return int(train["iterations"]) - int(train["source_target_iterations"]) - int(train["adaptor_iterations"])
