"""Settings of the adapted baselines of Appendix B.3. Torch-free.

The appendix names no training settings. Rates are those of DeepI2I's StyleGAN code for layers that come from the
teacher and StarGAN v2's for the new blocks (protocol entry adapted-training).
"""

from typing import Literal

from pydantic import Field

from kdx2i.methods.families.stargan.settings import StarGANSettings, StarGANTrain
from kdx2i.methods.families.stylegan.settings import StyleGANSizes


class AdaptedNetworks(StyleGANSizes):
    """Sizes, which must be those of the StyleGAN2 teacher, and what stands between its halves."""

    bottleneck: int = Field(
        default=16, ge=4, description="px of the encoder's output, protocol entry adapted-bottleneck"
    )
    blocks: Literal["stargan_v2", "adain"] = Field(
        default="stargan_v2",
        description="two with instance norm and two with AdaIN, or four with AdaIN: protocol entry adapted-blocks",
    )


class AdaptedTrain(StarGANTrain):
    """StarGAN v2's objective; `iterations` counts all phases."""

    learning_rate: float = Field(default=1e-3, gt=0, description="layers that come from the teacher")
    discriminator_learning_rate: float = Field(default=1e-3, gt=0)
    block_learning_rate: float = Field(default=1e-4, gt=0, description="the new residual blocks")
    mapping_learning_rate: float = Field(default=1e-5, gt=0)


class AdaptedSettings(StarGANSettings):
    """Settings of an adapted baseline."""

    networks: AdaptedNetworks = AdaptedNetworks()
    train: AdaptedTrain
