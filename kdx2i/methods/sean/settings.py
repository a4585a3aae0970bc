"""Settings of SEAN; the defaults are the official ones (`options/` of ZPdesu/SEAN and its README's commands)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdx2i.methods.settings import LoopBudget, StrictSettings


class Networks(StrictSettings):
    """Sizes, and which style codes and features the networks take.

    `labels` are those of the data set's maps. The official code has 19 linear layers for styles in every normalisation
    whatever `labels` is, and fixes the last four widths: narrower ones are for small presets.
    """

    width: int = Field(default=64, ge=1, description="of the generator, `ngf`")
    discriminator_width: int = Field(default=64, ge=1, description="`ndf`")
    discriminator_layers: int = Field(default=3, ge=1)
    discriminator_scales: int = Field(default=2, ge=1)
    upsampling: Literal["normal", "more"] = Field(default="normal", description="five halvings of the map, or six")
    labels: int = Field(default=19, ge=1)
    style_layers: int = Field(default=19, ge=1, description="linear layers for styles in every normalisation")
    style_length: int = Field(default=512, ge=1)
    encoder_width: int = Field(default=32, ge=1)
    hidden: int = Field(default=128, ge=1, description="of the maps' branch in every normalisation")
    codes_without_reference: Literal["training-means", "training-image", "zero"] = Field(
        default="training-means", description="protocol entry sean-codes-without-reference"
    )
    reference_map: Literal["own", "target"] = Field(default="own", description="protocol entry sean-reference-map")
    absent_regions: Literal["training-means", "zero"] = Field(
        default="training-means", description="protocol entry sean-absent-regions"
    )
    pseudo_condition: Literal["codes", "map"] = Field(
        default="codes", description="protocol entry sean-pseudo-condition"
    )
    first_feature: Literal["fc", "head_0"] = Field(default="fc", description="protocol entry sean-first-feature")

    @model_validator(mode="after")
    def _every_label_has_its_layer(self) -> Self:
        if self.labels > self.style_layers:
            raise ValueError(
                f"`labels` ({self.labels}) may be at most `style_layers` ({self.style_layers}): every label has its own"
            )
        return self


class Distill(LoopBudget):
    """Stage 1 (Appendix A.3)."""

    iterations: int = Field(default=100_000, ge=1)
    batch: int = Field(default=4, ge=1)


class Train(LoopBudget):
    """Training of `models/pix2pix_model.py` and `trainers/`; the official schedule counts epochs.

    The default length is the official one in iterations: 100 epochs of 28,000 images. The rate stays for a share
    `decay_from` of the training and falls to zero from there on. Nothing is averaged (`ema_decay` 0).
    """

    iterations: int = Field(default=87_500, ge=1)
    batch: int = Field(default=32, ge=1)
    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(default=4e-4, gt=0)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.9, ge=0, lt=1, description="protocol entry sean-betas")
    decay_from: float = Field(default=0.5, ge=0, le=1)
    lambda_feat: float = Field(default=10.0, ge=0)
    lambda_vgg: float = Field(default=10.0, ge=0)
    perceptual: Literal["vgg19", "efficientnet-lite1"] = Field(
        default="vgg19", description="protocol entry sean-perceptual"
    )
    perceptual_weights: str | None = Field(default=None, description="path of its weights; None: where they are kept")
    mirror_probability: float = Field(default=0.5, ge=0, le=1, description="left and right labels are not swapped")
    ema_decay: float = Field(default=0.0, ge=0, lt=1)


class Settings(StrictSettings):
    """Everything that a preset may say about SEAN."""

    networks: Networks = Networks()
    distill: Distill = Distill()
    train: Train = Train()
