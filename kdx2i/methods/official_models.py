"""The only place that loads an architecture's reader of published checkpoints by name."""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdx2i.config import validate
from kdx2i.errors import UserError
from kdx2i.foreign import check_network
from kdx2i.methods.build import build_method
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.published import Published
from kdx2i.teacher.official.state_dicts import load_official_state
from kdx2i.training.starts import weights_follow


def with_published() -> list[str]:
    """Return the architectures that have a reader of published checkpoints."""
    return [name for name in sorted(architectures()) if importlib.util.find_spec(f"kdx2i.methods.{name}.official")]


def read_published(architecture: str, path: Path, resolution: int | None = None) -> Published:
    """Return an architecture's published model of a file, read as tensors only.

    `resolution` in pixels, for networks of which any size may be asked; None: the official one. `UserError` for an
    architecture without such a reader, and a file that is missing, damaged, asks for anything but tensors, or is of
    another network.
    """
    known = with_published()
    if architecture not in known:
        raise UserError(f"there are no published checkpoints of `{architecture}`, but of {', '.join(known)}")
    if not path.exists():
        raise UserError(f"{path} does not exist: name a checkpoint of {architecture} that its authors published")
    reader = importlib.import_module(f"kdx2i.methods.{architecture}.official").read_published
    published: Published = reader(path, resolution)
    if resolution is not None and published.resolution != resolution:
        raise UserError(f"{path} is a model of {published.resolution} px, not of {resolution} px")
    return published


def build_published(
    architecture: str,
    published: Published,
    device: torch.device,
    *,
    num_classes: int | None = None,
    encoders: Path | None = None,
    images: Any = None,
    networks: Mapping[str, Any] | None = None,
) -> Any:
    """Return the method with a published model's weights.

    `num_classes`: those of a data set, where fewer than the model has are asked for or one model stands for all;
    `networks` go over what the file says. `UserError` where the tensors do not fit the networks that they describe.
    """
    where = published.files[0]
    count = published.num_classes if num_classes is None else num_classes
    settings = {**published.networks, **(networks or {})}
    check_network({"config": {**settings, "resolution": published.resolution, "classes": count}}, where)
    validate(architectures()[architecture].settings, {"networks": settings}, str(where))
    try:
        with weights_follow():
            method = build_method(
                architecture, {"networks": settings}, published.resolution, count, device, images, encoders
            )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{where} describes no network of {architecture}: {' '.join(str(error).split())}") from None
    for name, state in published.states.items():
        network, _, part = name.partition(".")
        module = method.averages[network]
        load_official_state(module.get_submodule(part) if part else module, state, where)
    return method
