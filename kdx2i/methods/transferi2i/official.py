"""Checkpoints of TransferI2I, whose networks are DeepI2I's on BigGAN; its authors' files lie in a cloud folder."""

from pathlib import Path

from kdx2i.methods.families.biggan.official import read_biggan_model
from kdx2i.methods.published import Published


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the model of `G.pth`, with `E1.pth` and `A1.pth` beside it."""
    return read_biggan_model(path)
