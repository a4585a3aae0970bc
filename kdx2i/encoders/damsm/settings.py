"""What DAMSM encoders are built from and how they are trained. Torch-free.

The defaults are the official ones for birds: `cfg/DAMSM/bird.yml` and `code/pretrain_DAMSM.py` of taoxugit/AttnGAN.
"""

from typing import Literal

from pydantic import Field

from kdx2i.config.models import Strict

ENLARGED = 76 / 64
"""The shorter side of an image before its random crop, as a multiple of the crop."""


class DamsmSettings(Strict):
    """Sizes of both encoders, and what becomes of words that no training caption has."""

    trunk: Literal["inception-v3", "efficientnet-lite1", "small"] = Field(
        default="inception-v3", description="network below the image encoder: protocol entry damsm-trunk"
    )
    trunk_weights: str | None = Field(
        default=None, description="file of the trunk's published weights; without it where its package or cache has it"
    )
    input_size: int = Field(default=128, ge=32, le=512, description="pixels that other trunks than Inception see")
    small_width: int = Field(default=32, ge=4, le=256, description="first channels of the trunk `small`")
    dimension: int = Field(default=256, ge=2, le=4096, multiple_of=2, description="numbers of a word, region or image")
    embedding: int = Field(default=300, ge=1, le=4096, description="numbers of a word before the recurrent layer")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="of those numbers, in training")
    words: int = Field(default=18, ge=1, le=256, description="longer captions lose a random subset of their words")
    unseen_words: Literal["drop", "text-model"] = Field(default="drop", description="protocol entry damsm-unseen-words")


class DamsmTraining(Strict):
    """How the encoders are trained."""

    batch: int = Field(default=48, ge=2)
    learning_rate: float = Field(default=0.002, gt=0)
    decay: float = Field(default=0.98, gt=0, le=1, description="of the rate after each epoch")
    least_rate: float = Field(default=0.1, ge=0, le=1, description="share of the rate below which it decays no more")
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    restart_adam: bool = Field(default=True, description="forget Adam's moments after each epoch")
    clip: float = Field(default=0.25, gt=0, description="largest norm of the text encoder's gradient")
    gamma1: float = 4.0
    gamma2: float = 5.0
    gamma3: float = 10.0
    weight: float = Field(default=1.0, gt=0, description="lambda of the loss")
    trunk_statistics: Literal["moving", "fixed"] = Field(
        default="moving", description="batch norms of a frozen trunk: protocol entry damsm-trunk-statistics"
    )
    crop: float = Field(
        default=1 / ENLARGED, gt=0, le=1, description="side of the random crop, as a share of the image"
    )
