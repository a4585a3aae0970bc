"""Official StyleGAN-1 checkpoints (rosinality/style-based-gan-pytorch, DeepI2I), read as tensors only.

A checkpoint is a dict of state dicts: `generator`, `g_running` (its average), `discriminator`, in DeepI2I's also
`encoder` and `align`, beside optimisers, which are not read.
"""

from pathlib import Path

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file
from kdx2i.teacher.outlines import shapes_only
from kdx2i.teacher.stylegan1 import Discriminator, Generator, StyleGAN1Config

PARTS = ("generator", "g_running", "discriminator", "encoder", "align")
REQUIRED = ("generator", "discriminator")


def read_stylegan1(path: Path, config: StyleGAN1Config) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts of a checkpoint, those of `PARTS` that it has; `generator` and `discriminator` are needed.

    A file that is missing, damaged, asks to run code or does not fit the sizes raises `UserError`.
    """
    content = read_torch_file(path)
    parts = [part for part in PARTS if isinstance(content, dict) and isinstance(content.get(part), dict)]
    for part in REQUIRED:
        if part not in parts:
            raise UserError(f"{path} is no StyleGAN-1 checkpoint: it holds no '{part}'")
    with shapes_only():
        outlines = {"generator": Generator(config), "discriminator": Discriminator(config)}
    shapes = {name: {k: tuple(t.shape) for k, t in net.state_dict().items()} for name, net in outlines.items()}
    shapes |= {"g_running": shapes["generator"], "encoder": shapes["discriminator"]}
    lazy: dict[str, LazyTensor] = {}
    for part in parts:
        for name, tensor in content[part].items():
            if not isinstance(name, str) or not isinstance(tensor, LazyTensor):
                raise UserError(f"{path} is damaged: '{part}' is not a table of tensors")
            lazy[f"{part}/{name}"] = tensor
        if part in shapes:
            _check({n: t.size for n, t in content[part].items()}, shapes[part], part, path)
    states: dict[str, dict[str, Tensor]] = {part: {} for part in parts}
    for key, tensor in materialise(lazy, path).items():
        part, name = key.split("/", 1)
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path} is damaged: {part}.{name} holds values that are not finite")
        states[part][name] = tensor.float()
    return states


def _check(held: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], part: str, path: Path) -> None:
    """Raise `UserError` naming a tensor that is missing, surplus or misshapen."""
    wrong = sorted(name for name in expected.keys() | held.keys() if expected.get(name) != held.get(name))
    if wrong:
        name = wrong[0]
        raise UserError(
            f"the {part} of {path} does not fit the settings: {name} is {held.get(name)}, expected {expected.get(name)}"
        )
