"""Checkpoints of wtliao/text2image: `netG_<epoch>.pth`, a flat state dict with `module.` before each name."""

from pathlib import Path

from kdx2i.methods.published import Published, materialised, read_flat, shapes_of
from kdx2i.methods.ssa_gan.networks import BOTTOM


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the generator; all sizes are those of the tensors. Captions need AttnGAN's encoders of the data set."""
    state = read_flat(path)
    shapes = shapes_of(path, state)
    networks = {
        "ngf": shapes.of("fc.weight", 0) // (8 * BOTTOM * BOTTOM),
        "noise_dim": shapes.of("fc.weight", 1),
        "condition_dim": shapes.of("block0.affine0.fc_gamma.linear1.weight", 1),
        "modulation_width": shapes.of("block0.affine0.fc_gamma.linear1.weight", 0),
    }
    side = BOTTOM << min(shapes.count(r"block(\d+)\.") - 1, 10)
    return Published(networks, side, 1, materialised({"generator": state}, path), (path,))
