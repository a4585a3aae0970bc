"""Settings of SEAN; the defaults are the official ones (`options/` of ZPdesu/SEAN and its README's commands)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdx2i.methods.conditional_settings import LabelMapDistillSettings
from kdx2i.methods.families.label_maps.settings import PerceptualSettings
from kdx2i.methods.settings import LoopBudget, StrictSettings


class Networks(StrictSettings):
    """Sizes, by the official names, and where style codes and features of stage 1 come from and go to.

    The official code has 19 linear layers for styles in every normalisation, however many labels there are, and fixes
    the last four widths: others are for small presets.
    """

    label_nc: int = Field(default=19, ge=1, le=254, description="labels of the maps")
    ngf: int = Field(default=64, ge=1, description="width of the generator's last block")
    num_upsampling_layers: Literal["normal", "more"] = Field(
        default="normal", description="5 or 6 halvings of the map, but 5 or 6 doublings of the smallest feature"
    )
    ndf: int = Field(default=64, ge=1, description="width of the discriminator's first convolution")
    num_d: int = Field(default=2, ge=1, description="scales of the discriminator")
    n_layers_d: int = Field(default=3, ge=1, description="groups of convolutions before the prediction")
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
    first_feature: Literal["fc", "head_0"] = Field(default="head_0", description="protocol entry sean-first-feature")
    student_styles: Literal["replicated", "as-trained"] = Field(
        default="replicated", description="protocol entry sean-student-styles"
    )

    @model_validator(mode="after")
    def _every_label_has_its_layer(self) -> Self:
        if self.label_nc > self.style_layers:
            raise ValueError(
                f"`label_nc` ({self.label_nc}) is more than `style_layers` ({self.style_layers}), "
                "and every label needs a layer of its own"
            )
        return self


class Train(LoopBudget, PerceptualSettings):
    """Training of `trainers/pix2pix_trainer.py`: an iteration is a step of the generator and one of the discriminator.

    The official counting is in epochs; the defaults are the official ones, 50 of 28,000 images at the full rate and 50
    in which it falls. Rates and betas are those of its two time-scales.
    """

    iterations: int = Field(default=87_500, ge=1)
    batch: int = Field(default=32, ge=1)
    decay_iterations: int = Field(
        default_factory=lambda known: known["iterations"] // 2,
        ge=0,
        description="last iterations, in which the rates fall to zero; as in the official code, half of all",
    )
    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(default=4e-4, gt=0)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.9, ge=0, lt=1, description="protocol entry sean-betas")
    lambda_feat: float = Field(default=10.0, ge=0, description="feature matching; 0: none")
    lambda_vgg: float = Field(default=10.0, ge=0, description="perceptual loss; 0: none")
    flip: float = Field(default=0.5, ge=0, le=1, description="share of training images that are mirrored")
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="0: no averages, as in the official code")

    @model_validator(mode="after")
    def _decay_lies_in_the_training(self) -> Self:
        if self.decay_iterations > self.iterations:
            raise ValueError(
                f"`decay_iterations` ({self.decay_iterations}) are the last ones of `iterations` ({self.iterations})"
            )
        return self


class Settings(StrictSettings):
    """Everything that a preset may say about SEAN."""

    networks: Networks = Networks()
    distill: LabelMapDistillSettings = LabelMapDistillSettings()
    train: Train = Train()
