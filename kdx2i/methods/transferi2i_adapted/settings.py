"""Settings of TransferI2I* (Appendix B.3)."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from kdx2i.methods.adapted_settings import AdaptedNetworks, AdaptedTrain
from kdx2i.methods.settings import I2IDistillSettings, StrictSettings


class Train(AdaptedTrain):
    """TransferI2I's phases: source-target GAN, self-initialised blocks, translation with an auxiliary GAN."""

    iterations: int = Field(default=120_000, ge=1)
    source_target_iterations: int = Field(default=10_000, ge=0, description="first: the GAN learns the classes")
    adaptor_iterations: int = Field(default=10_000, ge=0, description="then: the blocks learn from generated images")
    lambda_aux: float = Field(default=1.0, ge=0, description="weight of the auxiliary fakes")

    @property
    def first_iterations(self) -> int:
        """Iterations before the generator that translates is trained as a whole."""
        return self.source_target_iterations + self.adaptor_iterations


def generator_updates(train: Mapping[str, Any]) -> int:
    """Return how often the whole generator that translates is updated."""
    return Train(**train).iterations - Train(**train).first_iterations


class Settings(StrictSettings):
    """Everything that a preset may say about TransferI2I*; it has no stage 1."""

    networks: AdaptedNetworks = AdaptedNetworks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: Train = Train()
