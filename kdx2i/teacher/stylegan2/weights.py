"""Teacher files: generator and discriminator in one safetensors file with configuration and provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.teacher.outlines import shapes_only
from kdx2i.teacher.stylegan2 import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    config_dict,
    layout,
)
from kdx2i.training.checkpoint import load_module, load_tensors, prefixed, save_tensors, select

PARTS = ("generator", "discriminator")


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
    if isinstance(config, dict) and "form" in config:
        raise UserError(f"{path} is a {config['form']} teacher: a StyleGAN2 teacher is needed here")
    if not isinstance(config, dict) or set(config) != set(PARTS):
        hint = "convert official weights with 'kdx2i teacher OUT.safetensors --official FILE'"
        raise UserError(f"{path} is not a kdx2i teacher: {hint}")
    try:
        with shapes_only():
            _check_shapes(_networks(config), tensors, path)
        networks = _networks(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        raise UserError(f"{path} has a configuration that this version does not know: {error}") from None
    for name, module in zip(PARTS, networks, strict=True):
        constants = {k: v for k, v in module.state_dict().items() if k.endswith("resample_filter")}
        state = {k: v.float() for k, v in select(tensors, name).items()}
        load_module(module, state | constants, path)
        module.eval().requires_grad_(False)
    return Teacher(*networks, metadata.get("provenance", {}))


def read_fitting_teacher(path: Path, generator: GeneratorConfig, discriminator: DiscriminatorConfig) -> Teacher:
    """Read a teacher whose networks must be of these forms and sizes; others raise `UserError`."""
    teacher = load_teacher(path)
    pairs = (
        ("generator", layout(generator), layout(teacher.generator.config)),
        ("discriminator", layout(discriminator), layout(teacher.discriminator.config)),
    )
    for name, expected, held in pairs:
        different = ", ".join(f"{k} {held[k]}, not {expected[k]}" for k in expected if expected[k] != held[k])
        if different:
            raise UserError(f"the {name} of {path} does not fit the settings of `networks`: it has {different}")
    return teacher


def _networks(config: Mapping[str, Any]) -> tuple[Generator, Discriminator]:
    """Build the networks of a file's configuration."""
    return (
        Generator(GeneratorConfig(**config["generator"])),
        Discriminator(DiscriminatorConfig(**config["discriminator"])),
    )


def _check_shapes(networks: tuple[torch.nn.Module, ...], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise `UserError` naming a tensor that is missing, surplus or misshapen."""
    expected = {
        k: t.shape for name, m in zip(PARTS, networks, strict=True) for k, t in prefixed(name, _learned(m)).items()
    }
    held = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = sorted(name for name in expected.keys() | held.keys() if expected.get(name) != held.get(name))
    if wrong:
        raise UserError(f"{path} does not fit the networks that its configuration describes: see its {wrong[0]}")
