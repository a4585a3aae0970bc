"""The fingerprint of a training: hashes of its weights and losses after each of its first steps.

Whoever changes code that a training can reach runs these steps again and compares: `kdx2i adopt`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import Tensor, nn

from kdx2i.files import write_json

STEPS = 3
FILE = "fingerprint.json"

_PROBE: ContextVar[Path | None] = ContextVar("probe", default=None)


class Probed(Exception):  # noqa: N818 - the end that was asked for
    """Ends a training of which only the fingerprint was asked for."""


@contextmanager
def probing(folder: Path) -> Iterator[None]:
    """Let every training of the block start anew in `folder`, and end in `Probed` with its fingerprint there."""
    token = _PROBE.set(folder)
    try:
        yield
    finally:
        _PROBE.reset(token)


def work_of(work: Path) -> Path:
    """Return the folder that a training works in: its own, or the one of the probe that asks for it."""
    return _PROBE.get() or work


class Fingerprint:
    """The first hashes of a training, in `work`/fingerprint.json: one for each of the first `STEPS` steps.

    Each covers those before it, the weights and averages, and the losses of its step. A training that goes on at step
    `start` keeps the hashes of the steps before.
    """

    def __init__(self, work: Path, start: int, iterations: int, *, writes: bool) -> None:
        self.path = work / FILE
        self.steps = min(STEPS, iterations)
        self.writes = writes
        self.hashes = _read(self.path)[:start]

    def take(self, done: int, modules: Mapping[str, nn.Module], losses: Mapping[str, Tensor]) -> None:
        """Record the state after `done` steps; a probe ends at the last of the first steps with `Probed`."""
        # What went on without the hashes of its first steps has none.
        if self.writes and done <= self.steps and len(self.hashes) == done - 1:
            self.hashes.append(_state_hash(self.hashes[-1:], modules, losses))
            write_json(self.path, self.hashes)
        if done == self.steps and _PROBE.get() is not None:
            raise Probed


def _read(path: Path) -> list[str]:
    try:
        hashes = json.loads(path.read_text())
    except (OSError, ValueError):  # None yet, or damaged: the training has no fingerprint then.
        return []
    return [str(digest) for digest in hashes] if isinstance(hashes, list) else []


def _state_hash(before: list[str], modules: Mapping[str, nn.Module], losses: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256("".join(before).encode())
    for name, module in sorted(modules.items()):
        for key, tensor in module.state_dict().items():
            digest.update(f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            flat = tensor.detach().to("cpu").contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    for name, value in losses.items():
        digest.update(f"{name} {float(value.detach())!r}\n".encode())
    return digest.hexdigest()
