"""Settings of translation between StyleGAN features. Torch-free.

The defaults are those of DeepI2I's two-class code (`DeepI2I_StyleGAN/` of yaxingwang/DeepI2I), at 256 px.
"""

from typing import Literal

from pydantic import Field

from kdx2i.methods.settings import StrictSettings, TranslationSettings, TranslationTrain


class StyleGANSizes(StrictSettings):
    """Sizes of networks from a teacher: the width at r px is min(channel_base / r, channel_max)."""

    z_dim: int = Field(default=512, ge=1)
    w_dim: int = Field(default=512, ge=1)
    mapping_layers: int = Field(default=8, ge=1)
    channel_base: int = Field(default=16384, ge=1)
    channel_max: int = Field(default=512, ge=1)
    equalized_demodulation: bool = Field(default=False, description="stylegan2: teachers of rosinality's code")
    conv_clamp: float | None = Field(default=None, gt=0, description="stylegan2: activations' bound, NVIDIA's 256")
    noise: Literal["random", "none"] = Field(default="random", description="noise maps of the generator")


class StyleGANNetworks(StyleGANSizes):
    """Sizes, which must be the teacher's, and the features that carry the source over."""

    backbone: Literal["stylegan1", "stylegan2"] = "stylegan1"
    max_resolution: int = Field(default=1024, ge=8, description="stylegan1: up to which official files hold layers")
    addition_weights: dict[int, float] = Field(
        default={4: 0.1, 8: 0.1, 16: 0.1, 32: 0.1, 64: 0.0},
        min_length=1,
        description="weights of the adapted features by resolution, protocol entry stylegan-feature-resolutions",
    )


class StyleGANTrain(TranslationTrain):
    """DeepI2I's two-class training; each iteration updates the model of every direction once."""

    iterations: int = Field(default=100_501, ge=1)
    batch: int = Field(default=32, ge=1)
    adaptor_iterations: int = Field(default=501, ge=0, description="first iterations: adaptor and discriminator only")
    learning_rate: float = Field(default=1e-3, gt=0)
    mapping_learning_rate: float = Field(default=1e-5, gt=0)
    adversarial: Literal["wgan-gp", "r1"] = Field(default="wgan-gp", description="protocol entry stylegan-adversarial")
    gradient_weight: float = Field(default=10.0, ge=0, description="of the gradient penalty, or r1 (halved)")
    drift: float = Field(default=1e-3, ge=0, description="wgan-gp: weight of the squared logits of real images")
    mixing_probability: float = Field(default=0.9, ge=0, le=1)
    feature_weights: dict[int, float] = Field(
        default={4: 0.1, 8: 0.1, 16: 0.1, 32: 0.1, 64: 0.0},
        description="weights of the discriminator's features in the reconstruction, by resolution",
    )

    @property
    def first_iterations(self) -> int:
        """Iterations in which the generator does not learn."""
        return self.adaptor_iterations


class StyleGANSettings(TranslationSettings):
    """Everything that a preset may say about a method on a StyleGAN backbone."""

    networks: StyleGANNetworks = StyleGANNetworks()
    train: StyleGANTrain = StyleGANTrain()
