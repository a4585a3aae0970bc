"""Tensor files: safetensors with JSON metadata, written atomically, verified on reading.

A checkpoint holds the networks, their averages, the optimisers and the step, and the checksum of all that. Randomness
needs no state (`kdx2i.training.determinism`).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.errors import UserError
from kdx2i.files import replacing


class DamagedCheckpoint(UserError):  # noqa: N818 - a state of a file
    """A checkpoint is not the file that was written."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON-valued metadata to a safetensors file, atomically and deterministically."""
    ready = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in sorted(tensors.items())}
    # safetensors keeps metadata in a hash map: one key keeps the bytes of the header the same each time.
    header = {"kdx2i": json.dumps(dict(metadata), sort_keys=True, allow_nan=False)}
    with replacing(path) as temporary:
        save_file(ready, str(temporary), metadata=header)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of `save_tensors`; a missing, truncated or foreign file raises `UserError`."""
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        with safe_open(str(path), framework="pt") as handle:
            metadata = json.loads((handle.metadata() or {}).get("kdx2i", "{}"))
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file ({error}): delete it or restore it") from None
    if not isinstance(metadata, dict):
        raise UserError(f"{path} has metadata that are no JSON object: delete it or restore it")
    return tensors, metadata


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mapping with `prefix.` before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def select(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose name starts with `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as named tensors (`<parameter index>.<state name>`)."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{key}": torch.as_tensor(value) for i, entry in state.items() for key, value in entry.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser the state saved by `optimizer_tensors`; its settings stay those of the code.

    Tensors take their parameter's memory layout. Raises `ValueError` for the state of another optimiser.
    """
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise ValueError(f"no parameter belongs to the optimiser's tensor {name}")
        parameter = parameters[int(index)]
        if tensor.shape not in ((), parameter.shape):
            raise ValueError(f"the optimiser's tensor {name} is {tuple(tensor.shape)}, not {tuple(parameter.shape)}")
        kept = torch.empty_like(parameter).copy_(tensor) if tensor.ndim else tensor
        state.setdefault(int(index), {})[key] = kept
    if len({frozenset(entry) for entry in state.values()}) > 1:
        raise ValueError("the optimiser's state is not the same for all parameters")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    metadata: Mapping[str, Any],
) -> None:
    """Write networks (with their averages) and optimisers to one file."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= prefixed(f"module.{name}", module.state_dict())
    for name, optimizer in optimizers.items():
        tensors |= prefixed(f"optimizer.{name}", optimizer_tensors(optimizer))
    save_tensors(path, tensors, {**metadata, "sha256": _digest(tensors, metadata)})


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 of tensors, with their names, types and shapes, and of metadata."""
    state = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        ready = tensor.detach().to("cpu").contiguous()
        state.update(f"{name} {ready.dtype} {tuple(ready.shape)}\n".encode())
        state.update(ready.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def load_checkpoint(
    path: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]
) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote and return its metadata.

    A checkpoint of other networks or optimisers raises `UserError` naming the file; one that is cut, or has one bit
    that was not written, raises `DamagedCheckpoint` before anything is restored.
    """
    try:
        tensors, metadata = load_tensors(path)
    except UserError as error:
        raise DamagedCheckpoint(str(error)) from None
    stated = metadata.pop("sha256", None)
    if stated != _digest(tensors, metadata):
        raise DamagedCheckpoint(f"{path} is not the checkpoint that was written: its checksum is another")
    known = {f"module.{name}" for name in modules} | {f"optimizer.{name}" for name in optimizers}
    surplus = sorted({".".join(name.split(".")[:2]) for name in tensors} - known)
    if surplus:
        raise UserError(f"{path} is a checkpoint of another training: it also holds {', '.join(surplus[:3])}")
    for name, module in modules.items():
        load_module(module, select(tensors, f"module.{name}"), path)
    for name, optimizer in optimizers.items():
        try:
            restore_optimizer(optimizer, select(tensors, f"optimizer.{name}"))
        except ValueError as error:
            raise UserError(f"{path} is a checkpoint of another training: {error}") from None
    return metadata


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict; missing, surplus or misshapen tensors raise `UserError` naming the file."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} does not fit the network that the settings describe: {reason}") from None
