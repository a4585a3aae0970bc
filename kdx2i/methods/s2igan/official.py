"""Checkpoints of S2IGAN's image generation (`outputs/gan/<set>/Model` of xinshengwang/S2IGAN).

`netG_<epoch>.pth` holds the averaged generator, `netD0.pth`, `netD1.pth` and `netD2.pth` the discriminators from the
smallest image on, `netMD.pth` the relation supervisor.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from kdx2i.encoders.speech.official import flat_state
from kdx2i.methods.published import Published, materialised, read_flat, shapes_of
from kdx2i.training.checkpoint import load_module


def load_official(network: nn.Module, path: Path) -> None:
    """Load an official checkpoint into the network that it belongs to, by the published keys.

    Read as tensors only; `UserError` for a file that is missing, damaged or of another network or other sizes.
    """
    load_module(network, flat_state(path), path)


def load_official_folder(networks: Mapping[str, nn.Module], folder: Path, epoch: int) -> None:
    """Load the checkpoints of an epoch into the networks of a method: see `load_official`."""
    resolutions = sorted(int(name.removeprefix("discriminator")) for name in networks if name.startswith("discrim"))
    files = {f"discriminator{r}": f"netD{number}.pth" for number, r in enumerate(resolutions)}
    files |= {"generator": f"netG_{epoch}.pth", "relation": "netMD.pth"}
    for name, file in files.items():
        if name in networks:
            load_official(networks[name], folder / file)


def read_published(path: Path, resolution: int | None) -> Published:
    """Return the generator of `netG_<epoch>.pth`; all sizes are those of the tensors.

    Speech needs the encoder of the data set (`kdx2i.encoders.speech.official`).
    """
    state = read_flat(path)
    shapes = shapes_of(path, state)
    stages = 1 + shapes.count(r"h_net([23])\.")
    condition = shapes.of("ca_net.fc.weight", 0) // 4
    networks = {
        "gf_dim": shapes.of("img_net1.img.0.weight", 1),
        "condition_dim": condition,
        "noise_dim": shapes.of("h_net1.fc.0.weight", 1) - condition,
        "speech_dim": shapes.of("ca_net.fc.weight", 1),
        "stages": stages,
    }
    if stages > 1:
        networks["residual_blocks"] = shapes.count(r"h_net2\.residual\.(\d+)\.")
    side = 4 << min(shapes.count(r"h_net1\.upsample(\d+)\.") + stages - 1, 10)
    return Published(networks, side, 1, materialised({"generator": state}, path), (path,))
