"""Official checkpoints of CoCosNet v2: `<epoch>_net_{G,D,Corr}.pth`, bare state dicts, read as tensors only."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from kdx2i.teacher.official.state_dicts import read_official

FILES = {"correspondence": "Corr", "generator": "G", "discriminator": "D"}
"""The networks and the letters of their files."""


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
