"""Teacher files: generator and discriminator in one safetensors file with configuration and provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.teacher.stylegan2 import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    config_dict,
)
from kdx2i.training.checkpoint import load_module, load_tensors, prefixed, save_tensors, select


@dataclass
class Teacher:
    """A frozen teacher in evaluation mode, with the provenance of its file."""

    generator: Generator
    discriminator: Discriminator
    provenance: dict[str, Any]


def _learned(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return the state without the FIR kernels, which are constants of the code."""
    return {name: t for name, t in module.state_dict().items() if not name.endswith("resample_filter")}


def save_teacher(
    path: Path,
    generator: Generator,
    discriminator: Discriminator,
    provenance: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a teacher; `dtype` float16 halves the file (the rounded weights are then the teacher)."""
    tensors = prefixed("generator", _learned(generator)) | prefixed("discriminator", _learned(discriminator))
    config = {"generator": config_dict(generator.config), "discriminator": config_dict(discriminator.config)}
    stored = {name: t.to(dtype) for name, t in tensors.items()}
    save_tensors(path, stored, {"config": config, "provenance": dict(provenance)})


def load_teacher(path: Path) -> Teacher:
    """Read a teacher file in float32; anything else raises `UserError`."""
    tensors, metadata = load_tensors(path)
    config = metadata.get("config")
    if not isinstance(config, dict) or set(config) != {"generator", "discriminator"}:
        hint = "convert official weights with 'kdx2i teacher OUT.safetensors --official FILE'"
        raise UserError(f"{path} is not a kdx2i teacher: {hint}")
    try:
        generator = Generator(GeneratorConfig(**config["generator"]))
        discriminator = Discriminator(DiscriminatorConfig(**config["discriminator"]))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} has a configuration that this version does not know: {error}") from None
    for name, module in (("generator", generator), ("discriminator", discriminator)):
        constants = {k: v for k, v in module.state_dict().items() if k.endswith("resample_filter")}
        state = {k: v.float() for k, v in select(tensors, name).items()}
        load_module(module, state | constants, path)
        module.eval().requires_grad_(False)
    return Teacher(generator, discriminator, metadata.get("provenance", {}))
