"""What an evaluation is told: extractor, resize, sample counts, real set and classifier. Torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdx2i.metrics.protocols import DIMENSIONS, FEATURES

RealPart = Literal["all", "train", "test"]
Preprocessing = Literal["clean", "tf1", "pytorch-fid", "pytorch-fid-2018", "stargan-v2", "deepi2i"]


class ClassifierSettings(BaseModel):
    """The classifier behind RC and FC (Shmelkov et al. 2018); the paper leaves all of this open.

    `linear-probe` is a multinomial logistic regression with an L2 penalty on frozen extractor features
    (`l2`, `max_iterations`); `resnet18` is torchvision's network trained on the images (the other fields).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["linear-probe", "resnet18"] = "linear-probe"
    flip: bool = Field(default=False, description="train on mirrored images too")
    l2: float = Field(default=1e-4, gt=0, description="penalty l2/2 |W|^2 beside the mean cross-entropy")
    max_iterations: int = Field(default=500, ge=1, description="most L-BFGS iterations of the linear probe")
    epochs: int = Field(default=60, ge=1)
    batch: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=0.05, gt=0, description="at the start of a cosine schedule")
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    shift: int = Field(default=4, ge=0, description="random shift in pixels of the classifier's input")
    input_size: int | None = Field(default=None, ge=32, description="null: the size of the images")
    initial_weights: str | None = Field(default=None, description="a torchvision resnet18 state dict to start from")
    initial_weights_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @property
    def reads_images(self) -> bool:
        """Whether it is trained on images too, and not on features alone."""
        return self.architecture == "resnet18" or self.flip

    @model_validator(mode="after")
    def _weights_are_pinned(self) -> "ClassifierSettings":
        """Refuse starting weights without the checksum that makes them part of the result's identity."""
        if (self.initial_weights is None) != (self.initial_weights_sha256 is None):
            raise ValueError("initial_weights and initial_weights_sha256 must be given together")
        return self


class DiversitySettings(BaseModel):
    """LPIPS between outputs of one source (Table 5, as StarGAN v2's evaluation): how many, and which network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str = Field(default="efficientnet-lite0", description="protocol entry lpips-network")
    normalisation: Literal["lpips", "stargan-v2"] = "lpips"
    sources: int = Field(default=20, ge=2)
    outputs: int = Field(default=10, ge=2, description="of each source")


class EvaluationSettings(BaseModel):
    """The protocol of one evaluation, the same for every method of a table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    extractor: str = "efficientnet-lite0"
    preprocessing: Preprocessing = "clean"
    input_size: int | None = Field(default=None, ge=32, le=1024, description="null: the extractor's own default")
    images_per_class: int = Field(default=10, ge=2, description="generated images of each class")
    images_per_direction: int = Field(
        default=100, ge=2, description="generated images of each direction of two classes"
    )
    conditions_per_image: int = Field(
        default=1,
        ge=1,
        description="images from each test caption, utterance or label map: protocol entry paired-requests",
    )
    real_set: RealPart = Field(default="all", description="real images of the class-wise metrics")
    pooled_real_set: RealPart = Field(default="test", description="real images of the pooled FID and KID")
    learned_by: Literal["kernel", "frechet"] = Field(
        default="kernel", description="the distance that judges a run against its untrained start: learned-or-not"
    )
    control_repeats: int = Field(default=10, ge=1, description="random halvings behind the real-against-real row")
    infinity: bool = Field(default=False, description="also FID extrapolated to infinitely many images")
    inception_score: str | None = Field(default=None, description="also IS, under this convention of the register")
    diversity: DiversitySettings | None = Field(default=None, description="also LPIPS between outputs of a source")
    classifier: ClassifierSettings = ClassifierSettings()
    seed: int = Field(default=0, ge=0)
    batch: int = Field(default=64, ge=1, description="images embedded at a time; no value depends on it")

    @model_validator(mode="after")
    def _features_belong_together(self) -> "EvaluationSettings":
        """Refuse a preprocessing that no code base uses with the network."""
        known = [preprocessing for extractor, preprocessing in FEATURES if extractor == self.extractor]
        if self.extractor in DIMENSIONS["extractor"] and self.preprocessing not in known:
            raise ValueError(f"preprocessing of {self.extractor} must be one of {', '.join(known)}")
        return self
