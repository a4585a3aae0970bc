"""Settings of DMIT; the defaults are the official ones (`options/` of Xiaoming-Yu/DMIT, birds at 128 px)."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.settings import StrictSettings, TranslationSettings, TranslationTrain


class Networks(StrictSettings):
    """Sizes: `width` of the first convolutions, `style_dim`, blocks, and blocks of the discriminators."""

    width: int = Field(default=64, ge=1)
    style_dim: int = Field(default=8, ge=1)
    encoder_blocks: int = Field(default=4, ge=0)
    style_blocks: int = Field(default=4, ge=1)
    decoder_blocks: int = Field(default=6, ge=0)
    upsampling: Literal["transpose", "nearest", "pixelshuffle"] = "transpose"
    image_discriminator_blocks: int = Field(default=4, ge=1, description="protocol entry dmit-discriminator-blocks")
    content_discriminator_blocks: int = Field(default=5, ge=1)


class Train(TranslationTrain):
    """Training of `models/base_model.py`, `update_model`; the official schedule counts epochs."""

    iterations: int = Field(default=100_000, ge=1)
    batch: int = Field(default=8, ge=2)
    learning_rate: float = Field(default=1e-4, gt=0)
    beta1: float = 0.5
    beta2: float = 0.999
    decay_from: float = Field(default=0.5, ge=0, le=1, description="share of the training with a constant rate")
    lambda_rec: float = 10.0
    lambda_kl: float = 0.01
    lambda_cyc: float = 10.0
    lambda_style: float = 1.0
    lambda_diversity: float = 0.05
    lambda_content: float = 1.0
    crop_probability: float = Field(default=0.5, ge=0, le=1)


class Settings(TranslationSettings):
    """Everything that a preset may say about DMIT."""

    networks: Networks = Networks()
    train: Train = Train()
