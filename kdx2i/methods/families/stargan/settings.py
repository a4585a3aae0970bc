"""Settings of the training of StarGAN v2, on whichever networks. Torch-free.

The defaults are the official ones (`main.py` of clovaai/stargan-v2, AFHQ).
"""

from pydantic import Field

from kdx2i.methods.settings import TranslationSettings, TranslationTrain


class StarGANTrain(TranslationTrain):
    """Rates and the weights of the terms of the objective (`core/solver.py`)."""

    iterations: int = Field(default=100_000, ge=1)
    batch: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    mapping_learning_rate: float = Field(default=1e-6, gt=0)
    lambda_reg: float = 1.0
    lambda_sty: float = 1.0
    lambda_ds: float = 2.0
    lambda_cyc: float = 1.0
    ds_iterations: int = Field(default=100_000, ge=1, description="over which lambda_ds falls to zero")
    crop_probability: float = Field(default=0.5, ge=0, le=1)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)


class StarGANSettings(TranslationSettings):
    """Settings of an architecture that StarGAN v2's objective trains."""

    train: StarGANTrain
