"""Official files: `<epoch>_net_{G,D,Corr}.pth` and `vgg19_conv.pth`, bare state dicts, read as tensors only."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file

FILES = {"correspondence": "Corr", "generator": "G", "discriminator": "D"}
"""The networks and the letters of their files."""


def read_network(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an official file that are `expected` by name and shape.

    Names may begin with `module.`. `UserError` in one sentence for a file that is damaged or is of another network.
    """
    data = read_torch_file(path)
    if not isinstance(data, dict) or not all(isinstance(value, LazyTensor) for value in data.values()):
        raise UserError(f"{path} is no state dict of a network")
    lazy = {str(name).removeprefix("module."): tensor for name, tensor in data.items()}
    missing = sorted(expected.keys() - lazy.keys())
    if missing or lazy.keys() - expected.keys():
        odd = missing or sorted(lazy.keys() - expected.keys())
        words = "lacks" if missing else "has an unexpected"
        raise UserError(f"{path} {words} tensor {odd[0]} ({len(odd)} in all): it is of another network or other sizes")
    for name, tensor in lazy.items():
        if tensor.size != tuple(expected[name].shape):
            raise UserError(
                f"{path} has {name} as {list(tensor.size)}, expected {list(expected[name].shape)}: set the sizes it has"
            )
    return materialise(lazy, path)


def load_official(networks: Mapping[str, nn.Module], folder: Path, epoch: str = "latest") -> None:
    """Load the official checkpoints of a folder into `correspondence`, `generator` and `discriminator`.

    Every file is read before any network changes. `UserError` for a file that is missing, damaged or does not fit.
    """
    states = {
        name: read_network(folder / f"{epoch}_net_{letter}.pth", networks[name].state_dict())
        for name, letter in FILES.items()
        if name in networks
    }
    for name, state in states.items():
        networks[name].load_state_dict(state)
