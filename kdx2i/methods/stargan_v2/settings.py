"""Settings of StarGAN v2; the defaults are the official ones (`main.py` of clovaai/stargan-v2, AFHQ)."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.families.stargan.settings import StarGANSettings, StarGANTrain
from kdx2i.methods.settings import StrictSettings


class Networks(StrictSettings):
    """Sizes; `dim_in`, `num_down` and `hidden_dim` left out have the official values."""

    style_dim: int = Field(default=64, ge=1)
    latent_dim: int = Field(default=16, ge=1)
    max_conv_dim: int = Field(default=512, ge=1)
    hidden_dim: int = Field(default=512, ge=1)
    dim_in: int | None = Field(default=None, ge=1)
    num_down: int | None = Field(default=None, ge=1)
    hint_block: Literal["first", "last"] = "last"


class Train(StarGANTrain):
    """Stage 2: the training of `core/solver.py`."""

    weight_decay: float = 1e-4
    ema_start: Literal["copy", "official"] = Field(
        default="copy", description="official: the averages start from another initialisation"
    )


class Settings(StarGANSettings):
    """Everything that a preset may say about StarGAN v2."""

    networks: Networks = Networks()
    train: Train = Train()
