"""Settings of CoCosNet v2; the defaults are those of the training command of microsoft/CoCosNet-v2."""

from typing import Literal

from pydantic import Field

from kdx2i.methods.settings import LoopBudget, StrictSettings


class Networks(StrictSettings):
    """Sizes, the matching, and where a label map without a reference gets its exemplar from."""

    label_nc: int = Field(default=19, ge=1, description="labels of the maps; CelebAMask-HQ has 19")
    width: int = Field(default=64, ge=1, description="`ngf` of the translation network")
    feature_width: int = Field(default=32, ge=1, description="`nef` of the correspondence network")
    discriminator_width: int = Field(default=64, ge=1, description="`ndf`")
    discriminator_layers: int = Field(default=4, ge=2)
    discriminators: int = Field(default=2, ge=1, description="scales that images are judged at")
    spade_hidden: int = Field(
        default=128, ge=1, description="channels inside SPADE layers; other numbers do not fit official weights"
    )
    positional_norm: bool = Field(default=True, description="`--PONO`; without it SPADE layers have batch norms")
    channel_centred: bool = Field(default=True, description="`--PONO_C`: features are centred over channels")
    temperature: float = Field(default=0.01, gt=0)
    match_iterations: int = Field(default=5, ge=1, description="PatchMatch iterations at each scale")
    exemplar: Literal["random", "nearest"] = Field(default="random", description="protocol entry cocosnet-exemplar")
    exemplars: int = Field(
        default=500, ge=1, description="training images that are kept with the weights to be exemplars"
    )


class Train(LoopBudget):
    """Training; an iteration is one update of both sides."""

    iterations: int = Field(
        default=3100, ge=1, description="100 epochs of 500 pairs, 31 whole batches each: protocol entry cocosnet-budget"
    )
    batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    beta1: float = 0.0
    beta2: float = 0.9
    generator_eps: float = Field(default=1e-3, gt=0, description="Adam's epsilon, generator and correspondence")
    ttur: Literal["first-epoch", "always", "never"] = Field(
        default="first-epoch", description="rates halved and doubled: protocol entry cocosnet-ttur"
    )
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="0: no averages, as in the official code")
    load_scale: float = Field(
        default=550 / 512, ge=1, lt=2, description="images are enlarged by this before a random crop"
    )
    real_reference_probability: float = Field(
        default=0.0, ge=0, le=1, description="other images as exemplars: protocol entry cocosnet-training-exemplar"
    )
    perceptual: Literal["vgg19", "efficientnet-lite1"] = Field(
        default="vgg19", description="network of three losses; the other one is a packaged stand-in"
    )
    vgg19: str = Field(
        default="weights/vgg19_conv.pth", description="file of the official weights, relative to the repository"
    )
    perceptual_layer: Literal["4_2", "5_2"] = "4_2"
    lambda_gan: float = Field(default=10.0, ge=0)
    lambda_discriminator_features: float = Field(default=10.0, ge=0)
    lambda_vgg: float = Field(default=10.0, ge=0, description="factor of both losses below")
    lambda_self_features: float = Field(default=1.0, ge=0, description="`weight_fm_ratio`")
    lambda_contextual: float = Field(default=1.0, ge=0)
    lambda_perceptual: float = Field(default=0.001, ge=0)
    lambda_alignment: float = Field(default=10.0, ge=0, description="`weight_novgg_featpair`")
    lambda_warp_self: float = Field(default=500.0, ge=0)
    lambda_warp_cycle: float = Field(default=1.0, ge=0)


class Settings(StrictSettings):
    """Everything that a preset may say about CoCosNet v2; it has no stage 1."""

    networks: Networks = Networks()
    distill: StrictSettings = StrictSettings()
    train: Train = Train()
