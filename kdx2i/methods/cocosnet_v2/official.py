"""Official checkpoints of CoCosNet v2: `<epoch>_net_{G,D,Corr}.pth`, bare state dicts, read as tensors only."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from kdx2i.methods.published import Published, beside, materialised, read_flat, shapes_of
from kdx2i.teacher.official.state_dicts import read_official

FILES = {"correspondence": "Corr", "generator": "G", "discriminator": "D"}
"""The networks and the letters of their files."""

OFFICIAL_RESOLUTION = 512


def load_official(networks: Mapping[str, nn.Module], folder: Path, epoch: str = "latest") -> None:
    """Load the official checkpoints of a folder into `correspondence`, `generator` and `discriminator`.

    Every file is read before any network changes. `UserError` for a file that is missing, damaged or does not fit.
    """
    states = {
        name: read_official(networks[name], folder / f"{epoch}_net_{letter}.pth")
        for name, letter in FILES.items()
        if name in networks
    }
    for name, state in states.items():
        networks[name].load_state_dict(state, strict=False)


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the networks of `<epoch>_net_G.pth` and, beside it, `_net_Corr.pth`, for images of `resolution` px.

    The official size is 512 px. Exemplars are no part of the files: they are given, with their maps.
    """
    files = [path, *beside(path, "net_G", "net_Corr")]
    generator, correspondence = (read_flat(file) for file in files)
    shapes, found = shapes_of(files[0], generator), shapes_of(files[1], correspondence)
    networks = {
        "label_nc": found.of("adaptive_model_seg.layer1.0.weight_orig", 1),
        "feature_width": found.of("adaptive_model_seg.layer1.0.weight_orig", 0),
        "width": shapes.of("fc.weight", 0) // 8,
        "spade_hidden": shapes.of("head_0.norm_0.mlp_shared.1.weight", 0),
        "positional_norm": not shapes.has("head_0.norm_0.param_free_norm.running_mean"),
    }
    states = {
        f"translator.{name}": materialised({name: state}, file)[name]
        for name, state, file in zip(("generator", "correspondence"), (generator, correspondence), files, strict=True)
    }
    side = resolution or OFFICIAL_RESOLUTION
    return Published(networks, side, 1, states, tuple(files), modes=("map",), needs_exemplars=True)
