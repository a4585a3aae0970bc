"""Official SSA-GAN weights: flat state dicts of `netG_<epoch>.pth` and `netD_<epoch>.pth`, read as tensors only."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from torch import nn

from kdx2i.errors import UserError
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file

_PREFIX = "module."  # The official code saves its networks inside a data-parallel wrapper.
Entry = TypeVar("Entry")


def official_state(content: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return a state dict without the `module.` of data-parallel networks before its keys."""
    return {key.removeprefix(_PREFIX): value for key, value in content.items()}


def load_official(network: nn.Module, path: Path) -> None:
    """Load an official file into a network of its sizes; `UserError` for any other file."""
    content = read_torch_file(path)
    if not isinstance(content, dict) or not content or not all(isinstance(v, LazyTensor) for v in content.values()):
        raise UserError(f"{path} is not a flat table of tensors, as SSA-GAN's code writes for one network")
    lazy = official_state(content)
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    wrong = sorted(
        key for key in expected.keys() | lazy.keys() if key not in lazy or expected.get(key) != lazy[key].size
    )
    if wrong:
        raise UserError(f"{path} does not fit this network of SSA-GAN: see {wrong[0]}")
    state = materialise(lazy, path)
    damaged = [key for key, tensor in state.items() if not bool(tensor.isfinite().all())]
    if damaged:
        raise UserError(f"{path} is damaged: {damaged[0]} holds values that are not finite")
    network.load_state_dict(state)
