"""Checkpoints of yaxingwang/SDIT (`solver.py`): `<iteration>-G.ckpt`, a flat state dict."""

import re
from pathlib import Path

from kdx2i.methods.published import Published, materialised, read_flat, shapes_of

OFFICIAL_RESOLUTION = 128


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the generator, for images of `resolution` px (officially 128); all sizes are those of the tensors."""
    state = read_flat(path)
    shapes = shapes_of(path, state)
    attention = shapes.has("enc.main.0.weight")
    encoder, adaptive = ("enc.", "ada.") if attention else ("", "")
    networks = {
        "width": shapes.of(f"{encoder}main.0.weight", 0),
        "attention": attention,
        "encoder_blocks": shapes.count(rf"{re.escape(encoder)}main\.(\d+)\.main\."),
        "adain_blocks": shapes.count(rf"{re.escape(adaptive)}dec\.model\.(\d+)\."),
        "mlp_dim": shapes.of(f"{adaptive}mlp.model.0.fc.weight", 0),
    }
    classes = shapes.of(f"{encoder}main.0.weight", 1) - 3
    states = materialised({"generator": state}, path)
    return Published(networks, resolution or OFFICIAL_RESOLUTION, classes, states, (path,))
