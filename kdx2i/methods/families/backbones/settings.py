"""Settings of one architecture on two backbones, BigGAN and StyleGAN; `networks.backbone` says which. Torch-free.

A preset that has both backbones names each one's settings by resolution.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Discriminator, Tag, model_validator

from kdx2i.methods.families.biggan.settings import BigGANNetworks
from kdx2i.methods.families.stylegan.settings import StyleGANNetworks, StyleGANTrain
from kdx2i.methods.settings import TranslationSettings, TranslationTrain

BIGGAN, STYLEGAN = Tag("[biggan]"), Tag("[stylegan]")
"""Mark the alternatives of a union that `BY_BACKBONE` tells apart."""

OneBackboneT = TypeVar("OneBackboneT", bound=TranslationSettings)


def _kind(value: Any) -> str:
    """Return the tag of `networks` or `train`: only StyleGAN's training has a choice of `adversarial`."""
    keys = value if isinstance(value, Mapping) else dict(value)
    on_stylegan = "adversarial" in keys or str(keys.get("backbone")).startswith("stylegan")
    return (STYLEGAN if on_stylegan else BIGGAN).tag


BY_BACKBONE = Discriminator(_kind)


class BackboneSettings(TranslationSettings):
    """What a preset may say of an architecture on either backbone.

    A subclass declares `train` as the union of its two trainings, by `BY_BACKBONE`, with BigGAN's as default.
    """

    networks: Annotated[Annotated[BigGANNetworks, BIGGAN] | Annotated[StyleGANNetworks, STYLEGAN], BY_BACKBONE] = (
        BigGANNetworks()
    )
    train: TranslationTrain

    @property
    def on_stylegan(self) -> bool:
        """Whether the backbone is a StyleGAN."""
        return isinstance(self.networks, StyleGANNetworks)

    def narrowed(self, settings: type[OneBackboneT]) -> OneBackboneT:
        """Return these settings as those of their backbone."""
        return settings.model_validate(dict(self))

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
        if self.on_stylegan != isinstance(self.train, StyleGANTrain):
            raise ValueError("`train.adversarial` needs a StyleGAN backbone: BigGAN has the hinge loss")
        return self
