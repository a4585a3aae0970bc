"""Official checkpoints of PyTorch networks whose tensors have the same names here."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file

_PARALLEL = "module."


def load_official(network: nn.Module, path: Path, *, within: str | None = None) -> None:
    """Load an official checkpoint, read as tensors only, into a network with the published tensor names.

    The file holds a state dict, or, with `within`, a dict that has one under that key; `module.` before every name
    (of networks that were trained in parallel) is dropped. `UserError` for a file that is damaged, asks for anything
    but tensors, or belongs to another network.
    """
    content = read_torch_file(path)
    state = content.get(within) if within is not None and isinstance(content, dict) else content
    if not isinstance(state, dict) or not state or not all(isinstance(v, LazyTensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict" + ("" if within is None else f" under `{within}`"))
    if not all(isinstance(name, str) for name in state):
        raise UserError(f"{path} holds no state dict: its tensors have no names")
    load_official_state(network, materialise(state, path), path)


def load_official_state(network: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Load a state dict with official names; one that does not fit raises `UserError` which begins with `where`."""
    if state and all(name.startswith(_PARALLEL) for name in state):
        state = {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{where} does not fit the network that the settings describe: {reason}") from None
