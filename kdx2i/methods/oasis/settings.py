"""Settings of OASIS; the defaults are those of `config.py` of boschresearch/OASIS at aeb875f."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.families.label_maps.settings import LabelMapNetworks, LabelMapSettings, LabelMapTrain

Widths = tuple[int, int, int, int, int, int]


class Networks(LabelMapNetworks):
    """Sizes, by the official names; the official code fixes `hidden` and `channels_d`.

    With `dont_care` the unknown class is channel 0, as in the official loaders (protocol entry label-map-unknown).
    """

    channels_g: int = Field(default=64, ge=1, description="width of the generator's last block")
    z_dim: int = Field(default=64, ge=1, description="length of the noise, which is the same at each pixel")
    no_3dnoise: bool = Field(default=False, description="no noise at all")
    spade_ks: Literal[1, 3, 5, 7] = Field(default=3, description="kernel inside the norms")
    param_free_norm: Literal["syncbatch", "batch", "instance"] = "syncbatch"
    no_spectral_norm: bool = False
    hidden: int = Field(default=128, ge=1, description="width inside the norms")
    channels_d: Widths = Field(
        default=(128, 128, 256, 256, 512, 512), description="widths of the discriminator from full size down"
    )


class Train(LabelMapTrain):
    """Training of `train.py`: an iteration is a step of the generator and one of the discriminator.

    The official counting is in epochs (200 at batch 32); the default is that of 500 images.
    """

    iterations: int = Field(default=3_125, ge=1, description="protocol entry oasis-length")
    batch: int = Field(default=32, ge=1)
    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(default=4e-4, gt=0)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description="0.9999 in `config.py`: protocol entry oasis-ema")
    balanced: bool = Field(default=True, description="rare classes weigh more: protocol entry oasis-balance")
    labelmix: Literal["official", "independent", "off"] = Field(
        default="official", description="how a mixed image is drawn: protocol entry oasis-labelmix"
    )
    lambda_labelmix: float = Field(default=10.0, ge=0)
    add_vgg_loss: bool = False
    lambda_vgg: float = Field(default=10.0, ge=0)
    statistics_batches: int = Field(
        default=51, ge=0, description="batches that refresh the average's statistics: protocol entry oasis-statistics"
    )


class Settings(LabelMapSettings):
    """Everything that a preset may say about OASIS."""

    networks: Networks = Networks()
    train: Train = Train()
