"""Settings of stage 1 for text, speech and label maps (section 3.3, Appendix A.1 to A.3), and what stage 2 shares.

Torch-free.
"""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from kdx2i.methods.settings import LoopBudget


class EmbeddingTrainSettings(LoopBudget):
    """What the trainings of stage 2 have in common whose conditions are embeddings."""

    embedding_scale: Literal["students", "all", "raw"] = Field(
        default="students", description="protocol entry x2i-embedding-scale"
    )


class X2IDistillSettings(LoopBudget):
    """Stage 1 for text, speech and label maps: eqs. (6) to (8). Defaults are the paper's for text (A.1).

    Those of A.2 and A.3 are the classes below. What the paper leaves open is an entry of the register.
    """

    iterations: int = Field(default=27_900, ge=1, description="protocol entry x2i-length")
    batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    discriminator_learning_rate: float = Field(default=4e-4, gt=0)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.9, ge=0, lt=1)
    lambda_adv: float = Field(default=1.0, ge=0)
    lambda_kdl: float = Field(default=1.0, ge=0)
    lambda_srl: float = Field(default=0.1, ge=0)
    alpha_small: float = Field(default=0.1, ge=0, description="eq. (6), features of a dimension below the limit")
    alpha_large: float = Field(default=0.01, ge=0, description="eq. (6), the other features")
    dimension: Literal["channels", "pixels"] = Field(default="channels", description="protocol entry x2i-dimension")
    dimension_limit: int = Field(default=128, ge=1)
    beta: float | None = Field(default=None, ge=0, description="eq. (6), image; null: as a feature of its dimension")
    norm: Literal["mean", "positions", "sum"] = Field(default="mean", description="protocol entry i2i-norm")
    hints: Literal["student-to-teacher", "teacher-to-student"] = Field(
        default="student-to-teacher", description="protocol entry i2i-hints"
    )
    adversarial: Literal["non-saturating", "saturating"] = Field(
        default="non-saturating", description="protocol entry i2i-adversarial"
    )
    r1_weight: float = Field(default=1.0, ge=0, description="protocol entry i2i-stage1-r1")
    mixing_layers: int = Field(default=4, ge=1, description="protocol entry triplet-cut")
    truncation: float = Field(default=1.0, gt=0, le=1, description="protocol entry triplet-truncation")
    first_resolution: Literal[4, 8, 16] = 8
    first_scale: Literal["student", "teacher"] = Field(default="student", description="protocol entry x2i-first-scale")
    first_dropout: float = Field(default=0.3, ge=0, le=1, description="protocol entry x2i-first-dropout")
    aligned: Literal["above-first", "from-first"] = Field(
        default="above-first", description="protocol entry x2i-aligned"
    )
    semantic_encoder: Literal["frozen", "trained"] = Field(
        default="frozen", description="protocol entry x2i-semantic-encoder"
    )
    minibatch_statistics: Literal["mean", "none", "batch"] = Field(
        default="mean", description="protocol entry x2i-minibatch-statistics"
    )
    condition_scale: Literal["standardised", "unit", "raw"] = Field(
        default="standardised", description="protocol entry x2i-condition-scale"
    )
    projection: Literal["trained", "fixed"] = Field(default="trained", description="protocol entry x2i-projection")
    discriminator_condition: Literal["pseudo", "zero"] = Field(
        default="pseudo", description="protocol entry x2i-discriminator-condition"
    )
    discriminator_pairs: Literal["matching", "mismatched"] = Field(
        default="matching", description="protocol entry x2i-discriminator-pairs"
    )
    judged: Literal["both", "y"] = Field(default="both", description="protocol entry x2i-judged-images")
    pair_noise: Literal["shared", "own"] = Field(default="shared", description="protocol entry x2i-noise")
    passes: Literal["joint", "separate"] = Field(default="joint", description="protocol entry x2i-passes")

    def feature_weight(self, channels: int, pixels: int) -> float:
        """Return alpha_l of eq. (6) for a feature [B, channels, pixels, pixels]."""
        dimension = channels if self.dimension == "channels" else pixels
        return self.alpha_small if dimension < self.dimension_limit else self.alpha_large

    def image_weight(self, pixels: int) -> float:
        """Return beta of eq. (6) for images of `pixels` px: what is set, or a feature's weight by its dimension."""
        return self.feature_weight(3, pixels) if self.beta is None else self.beta

    def overshoot(self, beta: float) -> str | None:
        """Return why eqs. (6) and (7) cannot go together at this weight of the image, or None where they can.

        Moving one image away from the other by d lowers eq. (7) by d and raises eq. (6) by at most d.
        """
        if self.lambda_srl <= self.lambda_kdl * beta or math.isclose(self.lambda_srl, self.lambda_kdl * beta):
            return None
        return (
            f"lambda_srl is {self.lambda_srl:g}, above lambda_kdl x beta = {self.lambda_kdl * beta:g}: eq. (7) would "
            "pay for two images that differ more than the teacher's, so lower lambda_srl or raise beta"
        )

    @model_validator(mode="after")
    def _first_features_coincide(self) -> Self:
        needed = 2 * int(math.log2(self.first_resolution)) - 3
        if self.mixing_layers < needed:
            raise ValueError(
                f"mixing_layers is {self.mixing_layers}, but the first features ({self.first_resolution} px) of x1 and "
                f"y are the same only if at least {needed} layers take s1, which the third line of eq. (7) needs"
            )
        return self

    @model_validator(mode="after")
    def _diversity_does_not_overshoot(self) -> Self:
        # By pixels the image's weight depends on its size, which the distillation looks at.
        known = self.beta is not None or self.dimension == "channels"
        reason = self.overshoot(self.image_weight(0)) if known else None
        if reason is not None:
            raise ValueError(reason)
        return self


class SpeechDistillSettings(X2IDistillSettings):
    """Stage 1 for speech; the defaults are those of Appendix A.2."""

    iterations: int = Field(default=20_400, ge=1, description="protocol entry x2i-length")
    batch: int = Field(default=12, ge=2)
    learning_rate: float = Field(default=2e-4, gt=0)
    discriminator_learning_rate: float = Field(default=2e-4, gt=0)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    lambda_adv: float = Field(default=10.0, ge=0)
    lambda_kdl: float = Field(default=10.0, ge=0)
    lambda_srl: float = Field(default=10.0, ge=0)
    alpha_small: float = Field(default=10.0, ge=0, description="eq. (6), features of a dimension below the limit")
    alpha_large: float = Field(default=10.0, ge=0, description="eq. (6), the other features")


class LabelMapDistillSettings(X2IDistillSettings):
    """Stage 1 for label maps; the defaults are those of Appendix A.3."""

    iterations: int = Field(default=12_500, ge=1, description="protocol entry x2i-length")
    batch: int = Field(default=4, ge=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
