"""Settings of one architecture on two backbones, BigGAN and StyleGAN; `networks.backbone` says which. Torch-free.

A preset that has both backbones names each one's settings by resolution.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag, model_validator

from kdx2i.methods.biggan_settings import BigGANNetworks
from kdx2i.methods.settings import I2IDistillSettings, LoopBudget, StrictSettings
from kdx2i.methods.stylegan_settings import StyleGANNetworks, StyleGANTrain

BIGGAN, STYLEGAN = Tag("[biggan]"), Tag("[stylegan]")
"""Mark the alternatives of a union that `BY_BACKBONE` tells apart."""


class Networks(BigGANNetworks):
    """BigGAN's sizes."""

    backbone: Literal["biggan"] = "biggan"


def _kind(value: Any) -> str:
    """Return the tag of `networks` or `train`: only StyleGAN's training has a choice of `adversarial`."""
    found = value if isinstance(value, Mapping) else dict(value)
    on_stylegan = "adversarial" in found or str(found.get("backbone")).startswith("stylegan")
    return (STYLEGAN if on_stylegan else BIGGAN).tag


BY_BACKBONE = Discriminator(_kind)


class BackboneSettings(StrictSettings):
    """What a preset may say of an architecture on either backbone; there is no stage 1.

    A subclass declares `train` as the union of its two trainings, by `BY_BACKBONE`, with BigGAN's as default.
    """

    networks: Annotated[Annotated[Networks, BIGGAN] | Annotated[StyleGANNetworks, STYLEGAN], BY_BACKBONE] = Networks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: LoopBudget

    @model_validator(mode="before")
    @classmethod
    def _training_follows_the_backbone(cls, data: Any) -> Any:
        """Let settings of training that leave `adversarial` out be those of the backbone."""
        train = data.get("train", {})
        if _kind(data.get("networks", {})) == STYLEGAN.tag and isinstance(train, Mapping):
            return {**data, "train": {"adversarial": "wgan-gp", **train}}
        return data

    @model_validator(mode="after")
    def _parts_belong_together(self) -> "BackboneSettings":
        if isinstance(self.networks, StyleGANNetworks) != isinstance(self.train, StyleGANTrain):
            raise ValueError("`train.adversarial` needs a StyleGAN backbone: BigGAN has the hinge loss")
        return self
