"""Checkpoints of S2IGAN's image generation (`outputs/gan/<set>/Model` of xinshengwang/S2IGAN).

`netG_<epoch>.pth` holds the averaged generator, `netD0.pth`, `netD1.pth` and `netD2.pth` the discriminators from the
smallest image on, `netMD.pth` the relation supervisor.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from kdx2i.encoders.speech.official import flat_state
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
    for name, network in networks.items():
        load_official(network, folder / files[name])
