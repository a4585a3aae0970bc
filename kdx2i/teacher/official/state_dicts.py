"""Official checkpoints of PyTorch networks whose tensors have the same names here, read as tensors only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file

_PARALLEL = "module."
_COUNTER = "num_batches_tracked"


def load_official(network: nn.Module, path: Path, *, within: str | None = None) -> None:
    """Load an official checkpoint, read as tensors only, into a network with the published tensor names.

    The file holds a state dict, or, with `within`, a dict that has one under that key; see `load_official_state`.
    `UserError` for a file that is damaged, asks for anything but tensors, or belongs to another network, which then
    keeps its weights.
    """
    network.load_state_dict(read_official(network, path, within=within), strict=False)


def read_official(network: nn.Module, path: Path, *, within: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of an official checkpoint that fits a network, which is not changed: see `load_official`."""
    lazy = read_state_dict(path, within=within)
    _check_fit(network, {name: tensor.size for name, tensor in lazy.items()}, path)
    tensors = materialise(lazy, path)
    damaged = sorted(name for name, t in tensors.items() if t.is_floating_point() and not bool(t.isfinite().all()))
    if damaged:
        raise UserError(f"{path} is damaged: {damaged[0]} holds values that are not finite")
    return tensors


def read_state_dict(path: Path, *, within: str | None = None) -> dict[str, LazyTensor]:
    """Return what a file holds by name, without the `module.` of networks trained in parallel, not read from disk yet.

    The file holds a state dict, or, with `within`, a dict that has one under that key. `UserError` for any other file.
    """
    content = read_torch_file(path)
    state = content.get(within) if within is not None and isinstance(content, dict) else content
    if not isinstance(state, dict) or not state or not all(isinstance(v, LazyTensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict" + ("" if within is None else f" under `{within}`"))
    if not all(isinstance(name, str) for name in state):
        raise UserError(f"{path} holds no state dict: its tensors have no names")
    return without_parallel(state)


def load_official_state(network: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Load a state dict with official names; one that does not fit raises `UserError` which begins with `where`.

    `module.` before every name (of networks that were trained in parallel) is dropped; counters of batches, which files
    of old versions lack, may be missing.
    """
    plain = without_parallel(state)
    _check_fit(network, {name: tuple(tensor.shape) for name, tensor in plain.items()}, where)
    network.load_state_dict(plain, strict=False)


def without_parallel(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state dict without the `module.` that stands before every name of a network trained in parallel."""
    if all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): entry for name, entry in state.items()}
    return dict(state)


def _check_fit(network: nn.Module, found: Mapping[str, tuple[int, ...]], where: object) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    missing = sorted(name for name in own.keys() - found.keys() if not name.endswith(_COUNTER))
    surplus = sorted(found.keys() - own.keys())
    other = sorted(name for name in own.keys() & found.keys() if own[name] != tuple(found[name]))
    for words, names in (("lacks", missing), ("has, unlike the network,", surplus), ("has another size of", other)):
        if names:
            raise UserError(
                f"{where} does not fit the network that the settings describe: it {words} {names[0]} "
                f"({len(names)} in all)"
            )
