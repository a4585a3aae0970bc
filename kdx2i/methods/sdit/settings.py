"""Settings of SDIT; the defaults are those of `main.py` of yaxingwang/SDIT, with its README's corrections."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from kdx2i.methods.settings import StrictSettings, TranslationSettings, TranslationTrain


def generator_updates(train: Mapping[str, Any]) -> int:
    """Return the generator's updates: one for `critic_updates` iterations."""
    updates: int = train["iterations"] // train["critic_updates"]
    return updates


class Networks(StrictSettings):
    """Sizes: `width` of the first convolutions, residual blocks of encoder and AdaIN part, of the MLP."""

    width: int = Field(default=64, ge=1)
    encoder_blocks: int = Field(default=6, ge=1)
    adain_blocks: int = Field(default=4, ge=2, multiple_of=2, description="odd: the official MLP is too narrow")
    mlp_dim: int = Field(default=256, ge=1)
    attention: bool = Field(default=True, description="protocol entry sdit-attention")


class Train(TranslationTrain):
    """Training of `solver.py`; an iteration is a discriminator update, as in the official counting."""

    iterations: int = Field(default=200_000, ge=1)
    batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    beta1: float = 0.5
    beta2: float = 0.999
    critic_updates: int = Field(default=5, ge=1, description="discriminator updates for each of the generator")
    lambda_cls: float = 1.0
    lambda_gp: float = 10.0
    lambda_rec: float = 10.0
    cycle_style: Literal["redrawn", "same"] = Field(default="redrawn", description="protocol entry sdit-cycle-style")
    lambda_noise: float = Field(default=800.0, ge=0, description="protocol entry sdit-noise-weight")


class Settings(TranslationSettings):
    """Everything that a preset may say about SDIT."""

    networks: Networks = Networks()
    train: Train = Train()
