"""Checkpoints of boschresearch/OASIS: `<name>_EMA.pth` (or `_G.pth`), a flat state dict."""

from pathlib import Path

from kdx2i.errors import UserError
from kdx2i.methods.oasis.settings import Networks
from kdx2i.methods.published import Published, materialised, read_flat, shapes_of

OFFICIAL_RESOLUTION = 256


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the generator, for square maps of `resolution` px (officially 256 for COCO-Stuff and ADE20K).

    Of the channels 64 are noise, as in all official models; each other one is a label.
    """
    state = read_flat(path)
    shapes = shapes_of(path, state)
    labels = shapes.of("fc.weight", 1) - Networks().z_dim
    if labels < 1:
        raise UserError(f"{path} has {labels + Networks().z_dim} channels of noise and labels: OASIS has 64 of noise")
    map_layer = "body.0.norm_0.mlp_shared.0.weight"
    has_statistics = shapes.has("body.0.norm_0.first_norm.running_mean")
    networks = {
        "label_nc": labels,
        "channels_g": shapes.of("conv_img.weight", 1),
        "spade_ks": shapes.of(map_layer, 2),
        "hidden": shapes.of(map_layer, 0),
        "no_spectral_norm": not shapes.has("body.0.conv_0.weight_orig"),
        "param_free_norm": "syncbatch" if has_statistics else "instance",
    }
    side = resolution or OFFICIAL_RESOLUTION
    return Published(networks, side, 1, materialised({"generator": state}, path), (path,))
