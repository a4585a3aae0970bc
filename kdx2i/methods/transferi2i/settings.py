"""Settings of TransferI2I on BigGAN; without public code, what its article leaves open is as in DeepI2I."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from kdx2i.methods.biggan_settings import BigGANNetworks
from kdx2i.methods.settings import I2IDistillSettings, LoopBudget, StrictSettings

MODES = ("latent",)
STARTS_FROM_TEACHER = True


class Train(LoopBudget):
    """Three phases: the GAN learns the data set, the adaptor the GAN's features, then the translation."""

    iterations: int = Field(default=120_000, ge=1, description="of all phases (protocol entry transferi2i-length)")
    source_target_iterations: int = Field(default=10_000, ge=0, description="fine-tuning of the class-conditional GAN")
    adaptor_iterations: int = Field(default=10_000, ge=0, description="self-initialisation, without data")
    batch: int = Field(default=16, ge=1)
    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(default=4e-4, gt=0, description="of the discriminator and the adaptor")
    beta1: float = 0.0
    beta2: float = 0.999
    lambda_aux: float = Field(default=1.0, ge=0, description="protocol entry transferi2i-auxiliary")
    feature_power: Literal[1, 2] = Field(default=1, description="protocol entry transferi2i-features: 1 is L1")
    compared: dict[int, float] = Field(
        default={4: 0.1, 8: 0.1, 16: 0.1, 32: 0.01}, description="weights of the feature loss by resolution"
    )
    crop_probability: float = Field(default=0.0, ge=0, le=1)
    mirror_probability: float = Field(default=0.0, ge=0, le=1)
    ema_decay: float = Field(default=0.0, ge=0, lt=1)

    @property
    def first_iterations(self) -> int:
        """Iterations before the translation."""
        return self.source_target_iterations + self.adaptor_iterations

    @model_validator(mode="after")
    def _translation_follows(self) -> "Train":
        if self.first_iterations >= self.iterations:
            raise ValueError("iterations must exceed source_target_iterations + adaptor_iterations: they come first")
        return self


def generator_updates(train: Mapping[str, Any]) -> int:
    """Return how often the generator is updated as a translator."""
    return int(train["iterations"]) - int(train["source_target_iterations"]) - int(train["adaptor_iterations"])


class Settings(StrictSettings):
    """Everything that a preset may say about TransferI2I; it has no stage 1."""

    networks: BigGANNetworks = BigGANNetworks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: Train = Train()
