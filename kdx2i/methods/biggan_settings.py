"""Sizes of translation with a BigGAN, which DeepI2I and TransferI2I share. Torch-free."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.settings import StrictSettings


class BigGANNetworks(StrictSettings):
    """Sizes of the four networks: those of the teacher that a run starts from. Defaults are the published ones."""

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
