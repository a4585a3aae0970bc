"""Checkpoints of HsinYingLee/MDMM (`model.py`, `save`): one dict with `enc_c`, `enc_a` and `gen` among others."""

from pathlib import Path

from kdx2i.methods.published import Published, materialised, read_parts, shapes_of

NAMES = {"enc_c": "content_encoder", "enc_a": "attribute_encoder", "gen": "generator"}
OFFICIAL_RESOLUTION = 216


def read_published(path: Path, resolution: int | None) -> Published:
    """Return encoders and generator, for images of `resolution` px (the official crops have 216)."""
    parts = read_parts(path, *NAMES)
    content, attribute, generator = (shapes_of(path, parts[name]) for name in NAMES)
    concat = generator.has("dec_share.0.model.1.weight")
    networks = {
        "width": content.of("conv.0.model.1.weight", 0),
        "attribute_mode": "concat" if concat else "feature-wise",
    }
    first = "conv.1.weight" if concat else "model.1.weight"
    if concat:
        networks["attribute_dim"] = attribute.of("fc.0.weight", 0)
    states = {NAMES[part]: state for part, state in materialised(parts, path).items()}
    return Published(networks, resolution or OFFICIAL_RESOLUTION, attribute.of(first, 1) - 3, states, (path,))
