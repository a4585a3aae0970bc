"""Settings of DeepI2I* (Appendix B.3)."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from kdx2i.methods.adapted_settings import AdaptedNetworks, AdaptedTrain
from kdx2i.methods.settings import I2IDistillSettings, StrictSettings


def generator_updates(train: Mapping[str, Any]) -> int:
    """Return how often the whole generator that translates is updated."""
    return int(train["iterations"]) - int(train.get("adaptor_iterations", 0))


class Train(AdaptedTrain):
    """DeepI2I's recipe: first the new parts and the discriminator, then all but the image encoder."""

    iterations: int = Field(default=100_501, ge=1)
    adaptor_iterations: int = Field(default=501, ge=0, description="first iterations: new parts and discriminator only")


class Settings(StrictSettings):
    """Everything that a preset may say about DeepI2I*; it has no stage 1."""

    networks: AdaptedNetworks = AdaptedNetworks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: Train = Train()
