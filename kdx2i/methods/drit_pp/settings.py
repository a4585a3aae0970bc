"""Settings of DRIT++; the defaults are those of `options.py` of HsinYingLee/MDMM, its multi-domain code."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.settings import StrictSettings, TranslationSettings, TranslationTrain


class Networks(StrictSettings):
    """Sizes and kinds: all official widths are multiples of `width`, so that one number narrows them all."""

    width: int = Field(default=64, ge=1)
    attribute_dim: int = Field(default=8, ge=1)
    attribute_mode: Literal["concat", "feature-wise"] = Field(
        default="concat", description="protocol entry drit-attribute-mode"
    )
    content_adversary: Literal["none", "small-kernel"] = Field(
        default="none",
        description="protocol entry drit-content-adversary; the official one takes 209 to 240 px images only",
    )
    discriminator_layers: int = Field(default=6, ge=2, description="halvings at 128 px and more; fewer below")
    spectral_norm: bool = Field(default=False, description="in the image discriminators")


class Train(TranslationTrain):
    """Training of `model.py`, `MD_multi`; the official schedule counts epochs."""

    iterations: int = Field(default=500_000, ge=1)
    batch: int = Field(default=2, ge=2, multiple_of=2, description="pairs that swap their attributes")
    learning_rate: float = Field(default=1e-4, gt=0)
    content_learning_rate: float = Field(default=4e-5, gt=0, description="content discriminator; never decays")
    beta1: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 1e-4
    decay_from: float = Field(default=0.5, ge=0, le=1, description="share of the training with a constant rate")
    content_updates: int = Field(default=2, ge=1, description="of the content discriminator before each iteration")
    lambda_cls: float = Field(default=1.0, description="domains of real images, discriminators")
    lambda_cls_generator: float = Field(default=5.0, description="domains of generated images, generator")
    lambda_rec: float = Field(default=10.0, description="self and cross-cycle reconstruction, each")
    lambda_content: float = Field(default=0.01, description="mean square of the content")
    lambda_kl: float = Field(default=0.01, description="divergence (concat) or mean square of the attribute")
    lambda_latent: float = Field(default=10.0, description="latent regression, for each image of a pair")
    mode_seeking: bool = Field(default=False, description="protocol entry drit-mode-seeking")
    crop_probability: float = Field(default=1.0, ge=0, le=1)


class Settings(TranslationSettings):
    """Everything that a preset may say about DRIT++."""

    networks: Networks = Networks()
    train: Train = Train()
