"""Checkpoints of ZPdesu/SEAN: `<epoch>_net_G.pth`, a flat state dict."""

from pathlib import Path

from kdx2i.methods.published import Published, materialised, read_flat, shapes_of

OFFICIAL_RESOLUTION = 256


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the generator with its style encoder, for square maps of `resolution` px (officially 256).

    The file has no styles of training images, so that images are drawn by reference; regions that a reference has not
    get the style zero, as the official code leaves them.
    """
    state = read_flat(path)
    shapes = shapes_of(path, state)
    map_layer = "head_0.ace_0.Spade.mlp_shared.0.weight"
    networks = {
        "label_nc": shapes.of(map_layer, 1),
        "hidden": shapes.of(map_layer, 0),
        "ngf": shapes.of("fc.weight", 0) // 16,
        "style_layers": shapes.count(r"head_0\.ace_0\.fc_mu(\d+)\."),
        "style_length": shapes.of("head_0.ace_0.fc_mu0.weight", 0),
        "encoder_width": shapes.of("Zencoder.model.1.weight", 0),
        "codes_without_reference": "zero",
        "absent_regions": "zero",
    }
    side = resolution or OFFICIAL_RESOLUTION
    states = materialised({"generator": state}, path)
    return Published(networks, side, 1, states, (path,), modes=("reference",))
