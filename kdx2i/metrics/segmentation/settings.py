"""What the training of a small segmenter is told. Torch-free."""

from pydantic import BaseModel, ConfigDict, Field


class SegmenterSettings(BaseModel):
    """A small network trained on real pairs of image and label map, where no public parser fits the data.

    The loss is that of face-parsing.PyTorch (online hard example mining): with plain cross-entropy the rare parts of
    the open faces were not learned at all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=24, ge=4, description="channels at half the image's size")
    epochs: int = Field(default=30, ge=1)
    batch: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=0.003, gt=0, description="at the start of a cosine schedule")
    weight_decay: float = Field(default=0.001, ge=0)
    threshold: float = Field(default=0.7, gt=0, lt=1, description="pixels of lower probability are hard")
    hard_share: float = Field(default=1 / 16, gt=0, le=1, description="least share of pixels that counts")
    flip: bool = Field(default=True, description="mirror at random; only for labels without left and right")
    shift: int = Field(default=4, ge=0, description="random shift in pixels")
    colour: float = Field(default=0.3, ge=0, description="random gain and offset of each channel, in [-1, 1] units")
