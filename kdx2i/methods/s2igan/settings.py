"""Settings of S2IGAN; the defaults are those of `cfg/flowers_3stages.yml` of xinshengwang/S2IGAN."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.conditional_settings import EmbeddingTrainSettings, SpeechDistillSettings
from kdx2i.methods.settings import StrictSettings


class Networks(StrictSettings):
    """Sizes. The frozen speech encoder is the dataset's (`encoders` of a preset: protocol entry s2igan-speech-encoder).

    The first stage draws images of 1 / 2^(`stages` - 1) of the resolution; `gf_dim` are the channels at its end,
    twice as many at half of its size, and so on down to 4 px. `df_dim` are the channels of a discriminator's first
    layer. `speech_dim` is the length of a speech embedding.
    """

    gf_dim: int = Field(default=64, ge=1, description="protocol entry s2igan-widths")
    df_dim: int = Field(default=64, ge=1)
    condition_dim: int = Field(default=128, ge=1, description="c of the conditioning augmentation")
    noise_dim: int = Field(default=100, ge=1)
    speech_dim: int = Field(default=1024, ge=1)
    stages: int = Field(default=3, ge=1, le=3)
    residual_blocks: int = Field(default=2, ge=0)
    constant_side: Literal["embedding", "condition"] = Field(
        default="embedding", description="stage 1 of †: protocol entry s2igan-constant-condition"
    )
    image_weights: str | None = Field(default=None, description="file of the image network; None: where it is cached")


class Train(EmbeddingTrainSettings):
    """Training of `steps/trainer.py`. An official epoch of Oxford-102 is 293 batches; 600 are run."""

    iterations: int = Field(default=175_800, ge=1)
    batch: int = Field(default=24, ge=2, description="one is too few for batch norms")
    learning_rate: float = Field(default=2e-4, gt=0)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    lambda_unconditional: float = Field(default=1.0, ge=0)
    lambda_relation: float = Field(default=1.0, ge=0, description="0: no relation supervisor")
    lambda_kl: float = Field(default=2.0, ge=0)
    relation_fake: Literal["similar", "separate"] = Field(
        default="similar", description="protocol entry s2igan-relation-labels"
    )
    wrong_images: Literal["redrawn-once", "other-class"] = Field(
        default="redrawn-once", description="protocol entry s2igan-wrong-images"
    )
    enlarge: float = Field(
        default=304 / 256, ge=1, description="enlarged by this before the random crop: protocol entry s2igan-crop"
    )
    average_takes_over_every: int = Field(
        default=14_650, ge=0, description="iterations; 0: never. Protocol entry s2igan-averages"
    )


class Settings(StrictSettings):
    """Everything that a preset may say about S2IGAN."""

    networks: Networks = Networks()
    distill: SpeechDistillSettings = SpeechDistillSettings()
    train: Train = Train()
