"""Settings of DeepI2I on BigGAN and on StyleGAN; `networks.backbone` says which.

The defaults are the official ones: BigGAN's of `scripts/DeepI2I.sh` of yaxingwang/DeepI2I, StyleGAN's in
`kdx2i.methods.stylegan_settings`. A preset that has both backbones names each one's settings by resolution.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from kdx2i.methods.biggan_settings import BigGANNetworks
from kdx2i.methods.settings import I2IDistillSettings, LoopBudget, StrictSettings
from kdx2i.methods.stylegan_settings import StyleGANNetworks, StyleGANSettings, StyleGANTrain

MODES = ("latent", "reference")
"""BigGAN has the mode `latent` only."""
STARTS_FROM_TEACHER = True


class Train(LoopBudget):
    """Training of `train.py` and `train_fns.py`: the adaptor alone, then adaptor and generator."""

    iterations: int = Field(default=100_500, ge=1, description="protocol entry deepi2i-length")
    adaptor_iterations: int = Field(default=500, ge=0, description="steps in which the generator does not learn")
    batch: int = Field(default=32, ge=1)
    accumulation: int = Field(default=8, ge=1, description="parts of a batch, one after the other")
    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(default=4e-4, gt=0, description="of the discriminator, adaptor and encoder")
    beta1: float = 0.0
    beta2: float = 0.999
    compared: dict[int, float] = Field(
        default={4: 0.1, 8: 0.1, 16: 0.1, 32: 0.01}, description="weights of the feature loss by resolution"
    )
    feature_pairs: Literal["per-sample", "official"] = Field(
        default="per-sample", description="protocol entry deepi2i-feature-pairs"
    )
    encoder: Literal["moving", "frozen", "trained"] = Field(
        default="moving", description="protocol entry deepi2i-encoder"
    )
    crop_probability: float = Field(default=0.0, ge=0, le=1)
    mirror_probability: float = Field(default=0.0, ge=0, le=1)
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="0: no averages, as in the official code")

    @model_validator(mode="after")
    def _parts_and_stages_fit(self) -> "Train":
        if self.batch % self.accumulation:
            raise ValueError(f"batch {self.batch} is no multiple of accumulation {self.accumulation}")
        if self.adaptor_iterations >= self.iterations:
            raise ValueError("adaptor_iterations must be fewer than iterations, or the generator never learns")
        if self.feature_pairs == "official" and self.batch // self.accumulation < 2:
            raise ValueError("the official feature pairs are two translations: each part of a batch needs two images")
        return self


class Networks(BigGANNetworks):
    """BigGAN's sizes."""

    backbone: Literal["biggan"] = "biggan"


class BigGANSettings(StrictSettings):
    """Settings of DeepI2I on BigGAN."""

    networks: Networks = Networks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: Train = Train()


def _kind(value: Any) -> str:
    """Return the tag of `networks` or `train`: only StyleGAN's training has a choice of `adversarial`."""
    found = value if isinstance(value, Mapping) else dict(value)
    on_stylegan = "adversarial" in found or str(found.get("backbone")).startswith("stylegan")
    return "[stylegan]" if on_stylegan else "[biggan]"


class Settings(StrictSettings):
    """Everything that a preset may say about DeepI2I; it has no stage 1."""

    networks: Annotated[
        Annotated[Networks, Tag("[biggan]")] | Annotated[StyleGANNetworks, Tag("[stylegan]")], Discriminator(_kind)
    ] = Networks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: Annotated[
        Annotated[Train, Tag("[biggan]")] | Annotated[StyleGANTrain, Tag("[stylegan]")], Discriminator(_kind)
    ] = Train()

    @model_validator(mode="before")
    @classmethod
    def _training_follows_the_backbone(cls, data: Any) -> Any:
        """Let settings of training that leave `adversarial` out be those of the backbone."""
        train = data.get("train", {})
        if _kind(data.get("networks", {})) == "[stylegan]" and isinstance(train, Mapping):
            return {**data, "train": {"adversarial": "wgan-gp", **train}}
        return data

    @model_validator(mode="after")
    def _parts_belong_together(self) -> "Settings":
        if isinstance(self.networks, StyleGANNetworks) != isinstance(self.train, StyleGANTrain):
            raise ValueError("`train.adversarial` needs a StyleGAN backbone: BigGAN has the hinge loss")
        return self

    def on_backbone(self) -> BigGANSettings | StyleGANSettings:
        """Return the settings as those of their backbone."""
        if isinstance(self.networks, StyleGANNetworks) and isinstance(self.train, StyleGANTrain):
            return StyleGANSettings(networks=self.networks, distill=self.distill, train=self.train)
        assert isinstance(self.networks, Networks) and isinstance(self.train, Train)
        return BigGANSettings(networks=self.networks, distill=self.distill, train=self.train)


def generator_updates(train: Mapping[str, Any]) -> int:
    """Return how often the generator is updated: the adaptor's own steps do not count."""
    return int(train["iterations"]) - int(train["adaptor_iterations"])
