"""Settings of StarGAN v2; the defaults are the official ones (`main.py` of clovaai/stargan-v2, AFHQ)."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.settings import I2IDistillSettings, LoopBudget, StrictSettings


class Networks(StrictSettings):
    """Sizes; `dim_in`, `num_down` and `hidden_dim` left out have the official values."""

    style_dim: int = Field(default=64, ge=1)
    latent_dim: int = Field(default=16, ge=1)
    max_conv_dim: int = Field(default=512, ge=1)
    hidden_dim: int = Field(default=512, ge=1)
    dim_in: int | None = Field(default=None, ge=1)
    num_down: int | None = Field(default=None, ge=1)
    hint_block: Literal["first", "last"] = "last"


class Train(LoopBudget):
    """Stage 2: the training of `core/solver.py`."""

    iterations: int = Field(default=100_000, ge=1)
    batch: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    mapping_learning_rate: float = Field(default=1e-6, gt=0)
    beta1: float = 0.0
    beta2: float = 0.99
    weight_decay: float = 1e-4
    lambda_reg: float = 1.0
    lambda_sty: float = 1.0
    lambda_ds: float = 2.0
    lambda_cyc: float = 1.0
    ds_iterations: int = Field(default=100_000, ge=1, description="over which lambda_ds falls to zero")
    crop_probability: float = Field(default=0.5, ge=0, le=1)
    ema_start: Literal["copy", "official"] = Field(
        default="copy", description="official: the averages start from another initialisation"
    )


class Settings(StrictSettings):
    """Everything that a preset may say about StarGAN v2."""

    networks: Networks = Networks()
    distill: I2IDistillSettings = I2IDistillSettings()
    train: Train = Train()
