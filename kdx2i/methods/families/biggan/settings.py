"""Settings of translation with a BigGAN, which DeepI2I and TransferI2I share. Torch-free."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.settings import StrictSettings, TranslationSettings, TranslationTrain


class BigGANNetworks(StrictSettings):
    """Sizes of the four networks: those of the teacher that a run starts from. Defaults are the published ones."""

    backbone: Literal["biggan"] = "biggan"
    width: int = Field(default=96, ge=1)
    teacher_classes: int = Field(
        default=1000, ge=1, description="classes of the teacher; a dataset has as many or less"
    )
    z_dim: int = Field(default=120, ge=1)
    shared_dim: int = Field(default=128, ge=1)
    attention: int = Field(default=64, ge=0)
    table: Literal["official", "truncated"] = Field(default="official", description="protocol entry biggan-32px")
    largest_feature: int = Field(default=32, ge=4, description="protocol entry deepi2i-resolutions")
    added: dict[int, float] = Field(
        default={4: 0.1, 8: 0.1, 16: 0.1, 32: 0.1}, description="protocol entry deepi2i-added-weights"
    )
    class_start: Literal["index", "mean"] = Field(default="index", description="protocol entry deepi2i-class-start")


class BigGANTrain(TranslationTrain):
    """Rates, feature loss and augmentation. Defaults are those of `scripts/DeepI2I.sh` of yaxingwang/DeepI2I."""

    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(
        default=4e-4, gt=0, description="of the discriminator, the adaptor and, where it learns, the encoder"
    )
    beta2: float = 0.999
    compared: dict[int, float] = Field(
        default={4: 0.1, 8: 0.1, 16: 0.1, 32: 0.01}, description="weights of the feature loss by resolution"
    )
    mirror_probability: float = Field(default=0.0, ge=0, le=1)


class BigGANSettings(TranslationSettings):
    """Settings of an architecture on BigGAN."""

    networks: BigGANNetworks = BigGANNetworks()
    train: BigGANTrain
