"""Models as their authors published them: tensors under the networks' names here, and the sizes that they show.

Each architecture that has published checkpoints reads them in its own `official.py`, by `read_published`; everything is
read as tensors only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.teacher.official.state_dicts import read_state_dict, without_parallel
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file


@dataclass(frozen=True)
class Published:
    """A published model.

    `networks`: its settings where they are not the official ones. `resolution` in pixels. `num_classes`: how many it
    translates to, 1 for other tasks. `states`: the tensors by the averaged network (`network`, or `network.part`) that
    they belong to. `modes`: the ways in which it can be asked, None for all of its architecture. `files`: those read.
    `one_direction`: it translates into the one class that it was trained for. `needs_exemplars`: it draws by images
    that are no part of its files (`networks.exemplars` of them).
    """

    networks: Mapping[str, Any]
    resolution: int
    num_classes: int
    states: Mapping[str, Mapping[str, Tensor]]
    files: tuple[Path, ...]
    modes: tuple[str, ...] | None = None
    one_direction: bool = False
    needs_exemplars: bool = False


@dataclass(frozen=True)
class Shapes:
    """The sizes of a published network's tensors by name, and what can be told from them; `UserError` else."""

    path: Path
    sizes: Mapping[str, tuple[int, ...]] = field(repr=False)

    def of(self, name: str, axis: int) -> int:
        """Return one number of a tensor's size."""
        size = self.sizes.get(name, ())
        if len(size) <= axis:
            raise UserError(f"{self.path} is not this architecture's published checkpoint: it has no tensor `{name}`")
        return size[axis]

    def has(self, name: str) -> bool:
        """Tell whether there is a tensor of a name."""
        return name in self.sizes

    def count(self, pattern: str) -> int:
        """Return how many different texts the group of a pattern takes at the start of names."""
        found = (re.match(pattern, name) for name in self.sizes)
        return len({match.group(1) for match in found if match})


Lazy = Mapping[str, LazyTensor]


def shapes_of(path: Path, state: Lazy) -> Shapes:
    """Return the sizes of a state dict of a file."""
    return Shapes(path, {name: tensor.size for name, tensor in state.items()})


def read_flat(path: Path) -> Lazy:
    """Return the tensors of a flat state dict, not read from disk yet; `UserError` for any other file."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the file of the network that draws")
    return read_state_dict(path)


def read_parts(path: Path, *names: str) -> dict[str, Lazy]:
    """Return the state dicts that a file holds under these names; `UserError` for a file without one of them."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the checkpoint in it")
    content = read_torch_file(path)
    parts: dict[str, Lazy] = {}
    for name in names:
        part = content.get(name) if isinstance(content, dict) else None
        if not isinstance(part, dict) or not part or not all(isinstance(t, LazyTensor) for t in part.values()):
            raise UserError(f"{path} is not this architecture's published checkpoint: it holds no network `{name}`")
        parts[name] = without_parallel(part)
    return parts


def beside(path: Path, own: str, *others: str) -> list[Path]:
    """Return the files of a model's other networks: `own` in the file's name is another word there.

    `UserError` for a file whose name has no `own`, or where one of the others is missing.
    """
    if own not in path.name:
        raise UserError(f"{path} must be the file of the network `{own}`, beside which the others lie")
    files = [path.with_name(path.name.replace(own, other)) for other in others]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} does not exist: it is published beside {path.name}, and needed with it")
    return files


def materialised(parts: Mapping[str, Lazy], path: Path) -> dict[str, dict[str, Tensor]]:
    """Read the tensors of several networks of one file; `UserError` for values that are not finite."""
    flat = {f"{part}/{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    states: dict[str, dict[str, Tensor]] = {part: {} for part in parts}
    for key, tensor in materialise(flat, path).items():
        part, _, name = key.partition("/")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(f"{path} is damaged: {name} holds values that are not finite")
        states[part][name] = tensor.float() if tensor.is_floating_point() else tensor
    return states
