"""Counting what networks compute and hold, on the meta device: no weights, no data, no GPU."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from kdx2i.training.loop import Trainable

META = torch.device("meta")


@dataclass(frozen=True)
class Kept:
    """What a training keeps, in bytes: what it publishes, a checkpoint, all it holds between steps, its gradients."""

    weights: int
    checkpoint: int
    held: int
    gradients: int


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up PyTorch's own formulas of products and convolutions, and the bytes of the tensors that are alive.

    PyTorch's `FlopCounterMode` follows modules as well, which gradients within gradients (R1) do not allow.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop = self.live = self.peak = 0
        self._held: set[int] = set()

    def restart(self) -> None:
        """Count operations and the peak from now on; what is alive stays counted."""
        self.flop, self.peak = 0, self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _answer(func, args, kwargs or {})
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **(kwargs or {}), out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.device == META:
                self._hold(leaf.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = cast(Any, storage)._cdata, storage.nbytes()
        if key not in self._held:
            self._held.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._held.discard(key)
        self.live -= size


def _answer(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation; a meta tensor that is asked for its numbers has ones (yes), and as a copy on the CPU zeros."""
    asked = isinstance(args[0], Tensor) and args[0].device == META if args else False
    if asked and func is torch.ops.aten._local_scalar_dense.default:
        return torch.ones((), dtype=args[0].dtype).item()
    if asked and func is torch.ops.aten._to_copy.default and kwargs.get("device") == torch.device("cpu"):
        return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
    return func(*args, **kwargs)


@contextmanager
def counting() -> Iterator[Counter]:
    """Count what is built and computed inside.

    PyTorch's autocast, which knows no meta device, changes nothing, and Adam only makes its state: no products there.
    """
    adam = mock.patch("torch.optim.adam.adam", _computes_nothing)
    with mock.patch("torch.autocast", _Uncast), adam, Counter() as counter:
        yield counter


def _computes_nothing(*_: Any, **__: Any) -> None:
    pass


class _Uncast:
    """In autocast's place: a context that casts nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def keep(counter: Counter, trained: Trainable) -> Kept:
    """Return what a training keeps, with its optimisers' state as after the first step of all of them."""
    gradients = 0
    for optimizer in trained.optimizers.values():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.empty_like(parameter)
                gradients += _bytes(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    networks = [*trained.networks.values(), *trained.averages.values()]
    weights = sum(_bytes(tensor) for network in networks for tensor in network.state_dict().values())
    states = [value for o in trained.optimizers.values() for state in o.state.values() for value in state.values()]
    moments = sum(_bytes(value) for value in states if isinstance(value, Tensor))
    return Kept(weights, weights + moments, counter.live, gradients)


def count_steps(counter: Counter, trained: Trainable, steps: range) -> tuple[float, int]:
    """Return the FLOP that the steps of a training take on average, and the bytes that are alive at most."""
    counter.restart()
    for step in steps:
        trained.training_step(step)
    return counter.flop / len(steps), counter.peak


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
