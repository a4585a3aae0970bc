"""Settings that several architectures share. Torch-free."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class StrictSettings(BaseModel):
    """A model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoopBudget(StrictSettings):
    """How long a stage trains, and how often it draws a grid and logs (iterations)."""

    iterations: int = Field(ge=1)
    batch: int = Field(ge=1)
    sample_every: int = Field(default=1000, ge=1)
    log_every: int = Field(default=10, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    ema_warm_up: bool = Field(
        default=False,
        description="bound the decay by (1 + n)/(10 + n), so that short runs forget their start",
    )

    def average_decay(self, step: int) -> float:
        """Return the decay of the averages after a step: the configured one, bounded when `ema_warm_up` is on."""
        bound = (1 + step) / (10 + step) if self.ema_warm_up else 1.0
        return min(self.ema_decay, bound)


class I2IDistillSettings(LoopBudget):
    """Stage 1 for image-to-image translation: eqs. (1) to (5). Defaults are the paper's (A.4)."""

    iterations: int = Field(default=20_000, ge=1)
    batch: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    beta1: float = 0.0
    beta2: float = 0.99
    weight_decay: float = 1e-4
    lambda_adv: float = 1.0
    lambda_kdl: float = 1.0
    gamma: float = Field(default=0.1, description="eq. (1), content encoder")
    tau: float = Field(default=0.1, description="eq. (2), style encoder")
    alpha: float = Field(default=0.1, description="eq. (3), generator features")
    beta: float = Field(default=0.1, description="eq. (3), image")
    norm: Literal["mean", "positions", "sum"] = Field(default="mean", description="protocol entry i2i-norm")
    r1_weight: float = Field(default=1.0, ge=0, description="protocol entry i2i-stage1-r1")
    adversarial: Literal["non-saturating", "saturating"] = Field(
        default="non-saturating", description="protocol entry i2i-adversarial"
    )
    from_rgb: bool = Field(default=True, description="protocol entry i2i-from-rgb")
    hints: Literal["student-to-teacher", "teacher-to-student"] = Field(
        default="student-to-teacher", description="protocol entry i2i-hints"
    )
    mixing_layers: int = Field(
        default=4, ge=1, description="layers that take s1 (footnote 1): protocol entry triplet-cut"
    )
    truncation: float = Field(default=1.0, gt=0, le=1, description="protocol entry triplet-truncation")
    guidance: Literal["both", "reference"] = Field(default="both", description="protocol entry i2i-latent")
    noise: Literal["lift", "first-components"] = Field(
        default="lift", description="how z2 and the student's noise relate: protocol entry i2i-latent-noise"
    )


class TranslationTrain(LoopBudget):
    """Stage 2 of an image-to-image architecture: Adam's betas, the augmentation, and which iterations come first."""

    beta1: float = 0.0
    beta2: float = 0.99
    crop_probability: float = Field(default=0.0, ge=0, le=1)
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="0: no averages, as in most official codes")

    @property
    def first_iterations(self) -> int:
        """Iterations before the generator that translates is trained as a whole."""
        return 0

    @model_validator(mode="after")
    def _translation_is_trained(self) -> Self:
        if self.first_iterations >= self.iterations:
            raise ValueError(
                f"`iterations` ({self.iterations}) must be more than the {self.first_iterations} that come before "
                "the whole generator learns"
            )
        return self


class TranslationSettings(StrictSettings):
    """Everything that a preset may say about an image-to-image architecture; `distill` is unused without a student."""

    networks: StrictSettings
    distill: I2IDistillSettings = I2IDistillSettings()
    train: TranslationTrain


FIRST_PHASES = ("source_target_iterations", "adaptor_iterations")


def updates_after_first_phases(train: Mapping[str, Any]) -> int:
    """Return how often the whole generator that translates is updated, given the settings of stage 2."""
    return int(train["iterations"]) - sum(int(train.get(phase, 0)) for phase in FIRST_PHASES)
