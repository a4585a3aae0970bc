"""Settings of SPADE; the defaults are those of `options/*.py` of NVlabs/SPADE at fecacc9."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from kdx2i.methods.families.label_maps.settings import LabelMapNetworks, LabelMapSettings, LabelMapTrain


class Networks(LabelMapNetworks):
    """Sizes, by the official names; `hidden` is the width inside the norms, which the official code fixes."""

    ngf: int = Field(default=64, ge=1, description="width of the generator's last block, and of the encoder")
    num_upsampling_layers: Literal["normal", "more", "most"] = Field(
        default="normal", description="5, 6 or 7 doublings of the smallest feature"
    )
    norm_g: str = Field(
        default="spectralspadesyncbatch3x3", pattern=r"^(spectral)?spade(instance|batch|syncbatch)\dx\d$"
    )
    hidden: int = Field(default=128, ge=1)
    use_vae: bool = Field(
        default=False, description="a code of an encoder in place of the map: protocol entry spade-vae"
    )
    z_dim: int = Field(default=256, ge=1, description="length of that code; the official encoder gives 256")
    norm_e: str = Field(default="spectralinstance", pattern=r"^(spectral)?(instance|batch|syncbatch|none)?$")
    ndf: int = Field(default=64, ge=1, description="width of the discriminator's first convolution")
    num_d: int = Field(default=2, ge=1, description="scales of the discriminator")
    n_layers_d: int = Field(default=4, ge=1, description="groups of convolutions before the prediction")
    norm_d: str = Field(default="spectralinstance", pattern=r"^(spectral)?(instance|batch|syncbatch|none)?$")

    @field_validator("norm_g")
    @classmethod
    def _kernel_is_odd_and_square(cls, option: str) -> str:
        if option[-3] != option[-1] or int(option[-1]) % 2 == 0:
            raise ValueError("the kernel of `norm_g` is square and odd, as in `spectralspadesyncbatch3x3`")
        return option


class Train(LabelMapTrain):
    """Training of `trainers/pix2pix_trainer.py`: an iteration is a step of the generator and one of the discriminator.

    The official counting is in epochs (`niter` 50, `niter_decay` 0); the defaults are those of 500 images.
    """

    iterations: int = Field(default=25_000, ge=1, description="protocol entry spade-length")
    batch: int = Field(default=1, ge=1)
    decay_iterations: int = Field(default=0, ge=0, description="last iterations, in which the rates fall to zero")
    learning_rate: float = Field(default=2e-4, gt=0)
    ttur: bool = Field(
        default=True,
        description="half the rate for the generator, twice for the discriminator: protocol entry spade-ttur",
    )
    beta1: float | None = Field(default=None, ge=0, lt=1, description="None: 0 with `ttur`, 0.5 without")
    beta2: float | None = Field(default=None, ge=0, lt=1, description="None: 0.9 with `ttur`, 0.999 without")
    gan_mode: Literal["hinge", "ls", "original", "w"] = "hinge"
    lambda_feat: float = Field(default=10.0, ge=0, description="feature matching; 0: none")
    lambda_vgg: float = Field(default=10.0, ge=0, description="perceptual loss; 0: none")
    lambda_kld: float = Field(default=0.05, ge=0, description="divergence of the encoder's codes, with `use_vae`")

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's betas."""
        first, second = (0.0, 0.9) if self.ttur else (0.5, 0.999)
        return first if self.beta1 is None else self.beta1, second if self.beta2 is None else self.beta2

    @property
    def rates(self) -> tuple[float, float]:
        """The learning rates of generator (with encoder) and discriminator."""
        return (
            (self.learning_rate / 2, self.learning_rate * 2) if self.ttur else (self.learning_rate, self.learning_rate)
        )

    @model_validator(mode="after")
    def _decay_lies_in_the_training(self) -> Self:
        if self.decay_iterations > self.iterations:
            raise ValueError(
                f"`decay_iterations` ({self.decay_iterations}) are the last ones of `iterations` ({self.iterations})"
            )
        return self


class Settings(LabelMapSettings):
    """Everything that a preset may say about SPADE."""

    networks: Networks = Networks()
    train: Train = Train()
