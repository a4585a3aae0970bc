"""Checkpoints of clovaai/stargan-v2 (`core/checkpoint.py`): `<step>_nets_ema.ckpt` or `<step>_nets.ckpt`."""

from pathlib import Path

from kdx2i.errors import UserError
from kdx2i.methods.published import Published, materialised, read_parts, shapes_of

PARTS = ("generator", "mapping_network", "style_encoder")


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the networks that translate; all sizes are those of the tensors.

    `UserError` for a model with a high-pass filter (`w_hpf` above 0, for faces), whose masks need a network of
    landmarks.
    """
    parts = read_parts(path, *PARTS)
    generator, mapping, style = (shapes_of(path, parts[name]) for name in PARTS)
    blocks = generator.count(r"encode\.(\d+)\.")
    exponent = 2 + style.count(r"shared\.(\d+)\.conv1\.weight")
    # The filter costs one more halving: older files show nothing else of it.
    deeper = generator.of("from_rgb.weight", 0) == 2**14 >> exponent and blocks - 2 == exponent - 3
    if generator.has("hpf.filter") or deeper:
        raise UserError(f"{path} is a model with w_hpf above 0, for faces with landmarks: those for animals are read")
    widths = [generator.of(f"encode.{i}.conv2.weight", 0) for i in range(blocks)]
    networks = {
        "style_dim": style.of("unshared.0.weight", 0),
        "latent_dim": mapping.of("shared.0.weight", 1),
        "hidden_dim": mapping.of("shared.0.weight", 0),
        "dim_in": generator.of("from_rgb.weight", 0),
        "num_down": blocks - 2,
        "max_conv_dim": max([*widths, style.of("unshared.0.weight", 1)]),
    }
    states = materialised(parts, path)
    return Published(networks, 1 << min(exponent, 12), mapping.count(r"unshared\.(\d+)\."), states, (path,))
