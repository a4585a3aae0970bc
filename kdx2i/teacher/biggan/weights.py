"""Files of BigGAN teachers: both networks in one safetensors file with configuration and provenance."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.foreign import check_network, tensor_metadata
from kdx2i.teacher.biggan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.outlines import shapes_only
from kdx2i.training.checkpoint import load_module, load_tensors, prefixed, save_tensors, select
from kdx2i.training.starts import weights_follow

FORM = "biggan"
MORE = ("encoder", "adaptor")


@dataclass
class BigGANTeacher:
    """A frozen BigGAN in evaluation mode, with the provenance of its file.

    `more`: the states of `encoder` and `adaptor`, which a model of DeepI2I has too.
    """

    generator: Generator
    discriminator: Discriminator
    provenance: dict[str, Any]
    more: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def save_biggan(
    path: Path,
    generator: Generator,
    discriminator: Discriminator,
    provenance: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
    more: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> None:
    """Write a teacher; `dtype` float16 halves the file (the rounded weights are then the teacher)."""
    states = {"generator": generator.state_dict(), "discriminator": discriminator.state_dict(), **(more or {})}
    tensors = {k: t for name, state in states.items() for k, t in prefixed(name, state).items()}
    stored = {name: t.to(dtype) for name, t in tensors.items()}
    config = {"form": FORM, "generator": asdict(generator.config), "discriminator": asdict(discriminator.config)}
    save_tensors(path, stored, {"config": config, "provenance": dict(provenance)})


def load_biggan(path: Path) -> BigGANTeacher:
    """Read a file of `save_biggan` in float32; anything else raises `UserError`, before its stated sizes are used."""
    check_network(tensor_metadata(path), path)
    tensors, metadata = load_tensors(path)
    config = metadata.get("config")
    if not isinstance(config, dict) or config.get("form") != FORM:
        raise UserError(
            f"{path} is not a BigGAN teacher: train one with 'kdx2i teacher', or convert official weights with "
            "'kdx2i teacher OUT.safetensors --official G_ema.pth --official D.pth'"
        )
    try:
        with shapes_only():
            outlines = _networks(config)
        for name, outline in outlines.items():
            expected = {k: t.shape for k, t in outline.state_dict().items()}
            held = {k: t.shape for k, t in select(tensors, name).items()}
            wrong = sorted(k for k in expected.keys() | held.keys() if expected.get(k) != held.get(k))
            if wrong:
                raise UserError(f"{path} does not fit the {name} that its configuration describes: see {wrong[0]}")
        with weights_follow():
            networks = _networks(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError, KeyError) as error:
        raise UserError(f"{path} has a configuration that this version does not know: {error}") from None
    for name, module in networks.items():
        load_module(module, {k: v.float() for k, v in select(tensors, name).items()}, path)
        module.eval().requires_grad_(False)
    generator, discriminator = networks["generator"], networks["discriminator"]
    assert isinstance(generator, Generator)
    assert isinstance(discriminator, Discriminator)
    more = {name: {k: t.float() for k, t in select(tensors, name).items()} for name in MORE}
    present = {name: state for name, state in more.items() if state}
    return BigGANTeacher(generator, discriminator, metadata.get("provenance", {}), present)


def _networks(config: Mapping[str, Any]) -> dict[str, Generator | Discriminator]:
    """Build the networks of a file's configuration."""
    return {
        "generator": Generator(GeneratorConfig(**config["generator"])),
        "discriminator": Discriminator(DiscriminatorConfig(**config["discriminator"])),
    }
