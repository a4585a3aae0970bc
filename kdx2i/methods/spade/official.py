"""Checkpoints of NVlabs/SPADE: `<epoch>_net_G.pth`, a flat state dict."""

from pathlib import Path

from kdx2i.methods.published import Published, materialised, read_flat, shapes_of

OFFICIAL_RESOLUTION = 256


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the generator, for square maps of `resolution` px (officially 256 for COCO-Stuff and ADE20K).

    A file does not say whether its last label stands for unknown pixels, nor whether it was trained with five or six
    doublings: it is read as one with a label a channel, and with five.
    """
    state = read_flat(path)
    shapes = shapes_of(path, state)
    use_vae = len(shapes.sizes.get("fc.weight", ())) == 2
    map_layer = "head_0.norm_0.mlp_shared.0.weight"
    kernel = shapes.of(map_layer, 2)
    spectral = "spectral" if shapes.has("head_0.conv_0.weight_orig") else ""
    norm = "syncbatch" if shapes.has("head_0.norm_0.param_free_norm.running_mean") else "instance"
    networks = {
        "label_nc": shapes.of(map_layer, 1),
        "ngf": shapes.of("up_3.conv_1.weight_orig" if spectral else "up_3.conv_1.weight", 0),
        "num_upsampling_layers": "most" if shapes.count(r"up_(4)\.") else "normal",
        "norm_g": f"{spectral}spade{norm}{kernel}x{kernel}",
        "hidden": shapes.of(map_layer, 0),
        "use_vae": use_vae,
    }
    side = resolution or OFFICIAL_RESOLUTION
    return Published(networks, side, 1, materialised({"generator": state}, path), (path,))
