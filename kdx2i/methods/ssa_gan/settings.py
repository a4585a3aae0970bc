"""Settings of SSA-GAN; defaults are the official ones (`cfg/bird.yml`, `main.py` of wtliao/text2image). Torch-free."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.conditional_settings import EmbeddingTrainSettings, X2IDistillSettings
from kdx2i.methods.settings import StrictSettings

BIRDS_AN_EPOCH = 8855 // 24
"""Official batches of an epoch: 8,855 training images, the last batch dropped."""


class Networks(StrictSettings):
    """Sizes of the networks. The DAMSM encoders that condition them are the dataset's (`encoders` of a preset)."""

    ngf: int = Field(default=64, ge=1, le=1024, description="channels of the generator at 256 px; at most 8 times that")
    ndf: int = Field(default=64, ge=1, le=1024, description="channels of the discriminator at full size")
    noise_dim: int = Field(default=100, ge=1, le=65536)
    condition_dim: int = Field(default=256, ge=1, le=65536, description="numbers of a sentence vector")
    modulation_width: int = Field(default=256, ge=1, le=65536, description="width inside the MLPs of the norms")
    first_feature: Literal["block-input", "block-output"] = Field(
        default="block-output", description="stage 1: protocol entry ssa-gan-first-feature"
    )


class Train(EmbeddingTrainSettings):
    """Stage 2; the official schedule counts 600 epochs."""

    iterations: int = Field(default=600 * BIRDS_AN_EPOCH, ge=1)
    batch: int = Field(default=24, ge=2)
    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(default=4e-4, gt=0)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.9, ge=0, lt=1)
    penalty_weight: float = Field(default=2.0, ge=0, description="MA-GP; 0 leaves out its step")
    penalty_power: float = Field(default=6.0, ge=2)
    damsm_weight: float = Field(default=0.05, ge=0, description="0 leaves out the loss and its image encoder")
    gamma1: float = Field(default=5.0, description="protocol entry ssa-gan-damsm-gamma")
    gamma2: float = 5.0
    gamma3: float = 10.0
    class_mask: bool = Field(default=True, description="DAMSM: pairs of one class are no mistakes")
    sort_captions: bool = Field(default=True, description="longest first, which decides the mismatched pairs")
    crop: float = Field(default=64 / 76, gt=0, le=1, description="side of the random crop, as a share of the image")
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="0: no averages, as in the official code")


class Settings(StrictSettings):
    """Everything that a preset may say about SSA-GAN."""

    networks: Networks = Networks()
    distill: X2IDistillSettings = X2IDistillSettings()
    train: Train = Train()
