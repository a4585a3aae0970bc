"""Settings of the speech encoder; defaults are those of `cfg/Pretrain/flower_train.yml` of S2IGAN. Torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SpeechEncoderSizes(Strict):
    """What an encoder is: `first` and `second` channels of its convolutions, `hidden` of its GRU in one direction.

    An embedding has 2 x `hidden` numbers. `image_network` is what images are read by
    (`kdx2i.encoders.speech.image_networks`).
    """

    first: int = Field(default=64, ge=1, le=8192)
    second: int = Field(default=128, ge=1, le=8192)
    hidden: int = Field(default=512, ge=1, le=8192)
    attention: int = Field(default=128, ge=1, le=8192)
    image_network: str = Field(
        default="inception-v3-torchvision", min_length=1, description="protocol entry s2igan-image-network"
    )
    frame_padding: Literal["reflect", "constant"] = Field(
        default="reflect", description="protocol entry s2igan-frame-padding"
    )

    @property
    def embedding(self) -> int:
        """Numbers of an embedding."""
        return 2 * self.hidden


class SpeechEncoderTraining(Strict):
    """How an encoder is trained. An official epoch of Oxford-102 is 54 batches; 151 are run."""

    iterations: int = Field(default=8154, ge=1)
    batch: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    beta1: float = Field(default=0.95, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    weight_decay: float = Field(default=1e-3, ge=0)
    decay_every: int = Field(default=2700, ge=1, description="iterations after which the rate is divided by ten")
    gamma: float = Field(default=10.0, gt=0, description="factor of the cosines in the matching loss")
    lambda_matching: float = Field(default=1.0, ge=0)
    lambda_classes: float = Field(default=1.0, ge=0)
    enlarge: float = Field(default=304 / 256, ge=1, description="enlarged by this before the random crop")


class SpeechEncoderSettings(Strict):
    """Everything about one speech encoder."""

    sizes: SpeechEncoderSizes = SpeechEncoderSizes()
    train: SpeechEncoderTraining = SpeechEncoderTraining()
    image_weights: str | None = Field(default=None, description="file of the image network; None: where it is cached")
