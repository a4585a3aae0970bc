"""From what a spec says to a method or a student: the only place that loads an architecture's networks by name."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdx2i.errors import UserError
from kdx2i.methods.architecture import Architecture
from kdx2i.methods.base import I2IStudent, MethodSetup
from kdx2i.methods.catalogue import architectures


def build_method(
    architecture: str,
    settings: Mapping[str, Any],
    resolution: int,
    num_classes: int,
    device: torch.device,
    images: Any = None,
    encoders: Path | None = None,
) -> Any:
    """Return an architecture's method, initialised from torch's global generator.

    `settings` has `networks` and, for a method that trains on `images`, `train`; `encoders` is the file of the encoder
    of its conditions. `UserError` for an architecture that is not registered.
    """
    registered = _registered(architecture)
    setup = MethodSetup(registered.settings(**settings), resolution, num_classes, device, images, encoders)
    return _load(registered.method)(setup)


def build_student(
    architecture: str, settings: Mapping[str, Any], resolution: int, device: torch.device
) -> tuple[I2IStudent, Any]:
    """Return an architecture's student for stage 1 and its checked settings of stage 1.

    `settings` has `networks` and `distill`. `UserError` for an architecture that has no student.
    """
    registered = _registered(architecture)
    if registered.student is None:
        raise UserError(f"{architecture} has no student, so there is nothing to distil: its transfer is `scratch`")
    checked: Any = registered.settings(**settings)
    return _load(registered.student)(checked.networks, resolution, device), checked.distill


def _registered(architecture: str) -> Architecture:
    known = architectures()
    if architecture not in known:
        raise UserError(f"there is no architecture `{architecture}`; the architectures are {', '.join(sorted(known))}")
    return known[architecture]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
