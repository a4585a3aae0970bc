"""Settings that label-map methods share. Torch-free."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.families.paired.settings import PairedSettings, PairedTrain
from kdx2i.methods.settings import StrictSettings


class LabelMapNetworks(StrictSettings):
    """Which labels there are: 19 of CelebAMask-HQ, background among them."""

    label_nc: int = Field(default=19, ge=1, le=254, description="labels of the maps")
    dont_care: bool = Field(
        default=False,
        description="255 marks pixels without a label, which get a channel: protocol entry label-map-unknown",
    )

    @property
    def semantic_nc(self) -> int:
        """Channels of the one-hot maps."""
        return self.label_nc + self.dont_care


class PerceptualSettings(StrictSettings):
    """The network of a perceptual loss, and its file where it is no package's."""

    perceptual: Literal["vgg19", "efficientnet-lite1"] = Field(
        default="vgg19",
        description="the official VGG19, or a packaged stand-in: protocol entry label-map-perceptual",
    )
    vgg19_weights: str | None = Field(
        default=None, description="torchvision's file; None: KDX2I_VGG19_WEIGHTS, then torch's cache"
    )


class LabelMapTrain(PairedTrain, PerceptualSettings):
    """Training on images with their label maps, changed alike."""

    load_scale: float = Field(
        default=286 / 256,
        ge=1,
        le=4,
        description="side that a training image is enlarged to before a random crop: protocol entry label-map-crop",
    )
    flip: float = Field(default=0.5, ge=0, le=1, description="share of training images that are mirrored")


class LabelMapSettings(PairedSettings):
    """Everything that a preset may say about a label-map architecture."""

    networks: LabelMapNetworks = LabelMapNetworks()
    train: LabelMapTrain
