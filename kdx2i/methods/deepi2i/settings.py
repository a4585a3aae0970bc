"""Settings of DeepI2I on BigGAN and on StyleGAN.

The defaults are the official ones: BigGAN's of `scripts/DeepI2I.sh` of yaxingwang/DeepI2I, StyleGAN's those of the
family.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kdx2i.methods.families.backbones.settings import BIGGAN, BY_BACKBONE, STYLEGAN, BackboneSettings
from kdx2i.methods.families.biggan.settings import BigGANSettings, BigGANTrain
from kdx2i.methods.families.stylegan.settings import StyleGANTrain


class Train(BigGANTrain):
    """Training of `train.py` and `train_fns.py`: the adaptor alone, then adaptor and generator."""

    iterations: int = Field(default=100_500, ge=1, description="protocol entry deepi2i-length")
    adaptor_iterations: int = Field(default=500, ge=0, description="steps in which the generator does not learn")
    batch: int = Field(default=32, ge=1)
    accumulation: int = Field(default=8, ge=1, description="parts of a batch, one after the other")
    feature_pairs: Literal["per-sample", "official"] = Field(
        default="per-sample", description="protocol entry deepi2i-feature-pairs"
    )
    sampling: Literal["balanced", "plain"] = Field(default="balanced", description="protocol entry deepi2i-loader")
    encoder: Literal["moving", "frozen", "trained"] = Field(
        default="moving", description="protocol entry deepi2i-encoder"
    )

    @property
    def first_iterations(self) -> int:
        """Iterations in which the generator does not learn."""
        return self.adaptor_iterations

    @model_validator(mode="after")
    def _parts_fit(self) -> "Train":
        if self.batch % self.accumulation:
            raise ValueError(f"batch {self.batch} is no multiple of accumulation {self.accumulation}")
        if self.feature_pairs == "official" and self.batch // self.accumulation < 2:
            raise ValueError("the official feature pairs are two translations: each part of a batch needs two images")
        return self


class OnBigGAN(BigGANSettings):
    """Settings of DeepI2I on BigGAN."""

    train: Train = Train()


class Settings(BackboneSettings):
    """Everything that a preset may say about DeepI2I."""

    train: Annotated[Annotated[Train, BIGGAN] | Annotated[StyleGANTrain, STYLEGAN], BY_BACKBONE] = Train()
