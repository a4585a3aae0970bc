"""Settings of the adapted baselines of Appendix B.3 (`kdx2i.methods.adapted`). Torch-free.

The appendix names no training settings. Rates are those of DeepI2I's StyleGAN code for layers that come from the
teacher and StarGAN v2's for the new blocks (protocol entry adapted-training).
"""

from typing import Literal

from pydantic import Field, model_validator

from kdx2i.methods.settings import LoopBudget, StrictSettings


class AdaptedNetworks(StrictSettings):
    """Sizes, which must be those of the StyleGAN2 teacher: the width at r px is min(channel_base / r, channel_max)."""

    z_dim: int = Field(default=512, ge=1)
    w_dim: int = Field(default=512, ge=1)
    mapping_layers: int = Field(default=8, ge=1)
    channel_base: int = Field(default=16384, ge=1)
    channel_max: int = Field(default=512, ge=1)
    equalized_demodulation: bool = Field(default=False, description="teachers of rosinality's code")
    noise: Literal["random", "none"] = Field(default="random", description="noise maps of the decoder")
    bottleneck: int = Field(
        default=16, ge=4, description="px of the encoder's output, protocol entry adapted-bottleneck"
    )
    blocks: Literal["stargan_v2", "adain"] = Field(
        default="stargan_v2",
        description="two blocks with instance norm and two with AdaIN, or all AdaIN (protocol entry adapted-blocks)",
    )


class AdaptedTrain(LoopBudget):
    """StarGAN v2's objective; `iterations` counts all phases."""

    iterations: int = Field(default=100_000, ge=1)
    batch: int = Field(default=8, ge=1)
    adaptor_iterations: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0, description="layers that come from the teacher")
    discriminator_learning_rate: float = Field(default=1e-3, gt=0)
    block_learning_rate: float = Field(default=1e-4, gt=0, description="the new residual blocks")
    mapping_learning_rate: float = Field(default=1e-5, gt=0)
    beta1: float = 0.0
    beta2: float = 0.99
    lambda_reg: float = 1.0
    lambda_sty: float = 1.0
    lambda_ds: float = 2.0
    lambda_cyc: float = 1.0
    ds_iterations: int = Field(default=100_000, ge=1, description="over which lambda_ds falls to zero")
    crop_probability: float = Field(default=0.5, ge=0, le=1)

    @property
    def first_iterations(self) -> int:
        """Iterations before the generator that translates is trained as a whole."""
        return self.adaptor_iterations

    @model_validator(mode="after")
    def _translation_is_trained(self) -> "AdaptedTrain":
        if self.first_iterations >= self.iterations:
            raise ValueError(f"`iterations` ({self.iterations}) must be more than those before translation")
        return self
