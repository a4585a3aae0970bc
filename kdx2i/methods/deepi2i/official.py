"""Checkpoints of yaxingwang/DeepI2I: on BigGAN three flat files, on StyleGAN one dict a direction."""

from pathlib import Path

from kdx2i.methods.families.biggan.official import read_biggan_model
from kdx2i.methods.families.stylegan.official import read_stylegan_model
from kdx2i.methods.published import Published


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the model of `G.pth`, with the files beside it, or that of one direction (`DeepI2I_StyleGAN`)."""
    return read_biggan_model(path) if path.name == "G.pth" else read_stylegan_model(path, resolution)
