"""Settings of DeepI2I on BigGAN and on StyleGAN (`kdx2i.methods.backbone_settings`).

The defaults are the official ones: BigGAN's of `scripts/DeepI2I.sh` of yaxingwang/DeepI2I, StyleGAN's in
`kdx2i.methods.stylegan_settings`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kdx2i.methods.backbone_settings import BIGGAN, BY_BACKBONE, STYLEGAN, BackboneSettings, Networks
from kdx2i.methods.biggan_settings import BigGANTrain
from kdx2i.methods.settings import I2IDistillSettings, StrictSettings
from kdx2i.methods.stylegan_settings import StyleGANNetworks, StyleGANSettings, StyleGANTrain


class Train(BigGANTrain):
    """Training of `train.py` and `train_fns.py`: the adaptor alone, then adaptor and generator."""

    iterations: int = Field(default=100_500, ge=1, description="protocol entry deepi2i-length")
    adaptor_iterations: int = Field(default=500, ge=0, description="steps in which the generator does not learn")
    batch: int = Field(default=32, ge=1)
    accumulation: int = Field(default=8, ge=1, description="parts of a batch, one after the other")
    feature_pairs: Literal["per-sample", "official"] = Field(
        default="per-sample", description="protocol entry deepi2i-feature-pairs"
    )
    encoder: Literal["moving", "frozen", "trained"] = Field(
        default="moving", description="protocol entry deepi2i-encoder"
    )

    @model_validator(mode="after")
    def _parts_and_stages_fit(self) -> "Train":
        if self.batch % self.accumulation:
            raise ValueError(f"batch {self.batch} is no multiple of accumulation {self.accumulation}")
        if self.adaptor_iterations >= self.iterations:
            raise ValueError("adaptor_iterations must be fewer than iterations, or the generator never learns")
        if self.feature_pairs == "official" and self.batch // self.accumulation < 2:
            raise ValueError("the official feature pairs are two translations: each part of a batch needs two images")
        return self


class BigGANSettings(StrictSettings):
    """Settings of DeepI2I on BigGAN."""

    networks: Networks = Networks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: Train = Train()


class Settings(BackboneSettings):
    """Everything that a preset may say about DeepI2I."""

    train: Annotated[Annotated[Train, BIGGAN] | Annotated[StyleGANTrain, STYLEGAN], BY_BACKBONE] = Train()

    def on_backbone(self) -> BigGANSettings | StyleGANSettings:
        """Return the settings as those of their backbone."""
        if isinstance(self.networks, StyleGANNetworks) and isinstance(self.train, StyleGANTrain):
            return StyleGANSettings(networks=self.networks, distill=self.distill, train=self.train)
        assert isinstance(self.networks, Networks) and isinstance(self.train, Train)
        return BigGANSettings(networks=self.networks, distill=self.distill, train=self.train)


def generator_updates(train: Mapping[str, Any]) -> int:
    """Return how often the generator is updated: the adaptor's own steps do not count."""
    return int(train["iterations"]) - int(train["adaptor_iterations"])
