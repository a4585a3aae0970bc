"""What the suite has, found by name: architectures, their settings and modes, transfers.

The rooms asked here stand further right in the order of the layers. They are looked up by name, like
plug-ins, and only their settings modules are imported, which hold plain data and no torch.
"""

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from kdx2i.config import ArchitectureConfig, merged, validate


def checked_evaluation(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a preset's evaluation settings, checked and completed with defaults, as JSON."""
    model = importlib.import_module("kdx2i.metrics.settings").EvaluationSettings
    settings: dict[str, Any] = validate(model, data, where).model_dump(mode="json")
    return settings


def segmenter_settings() -> dict[str, Any]:
    """Return how a segmenter is trained, as JSON: the same in every preset."""
    settings: dict[str, Any] = (
        importlib.import_module("kdx2i.metrics.segmenter_settings").SegmenterSettings().model_dump()
    )
    return settings


def implemented(architecture: str) -> bool:
    """Tell whether the suite has the architecture."""
    return architecture in _architectures()


def method_module(architecture: str) -> str:
    """Return the module of an architecture's method."""
    return str(_architectures()[architecture].method_module)


def student_module(architecture: str) -> str:
    """Return the module of the student that stage 1 distils."""
    return str(_architectures()[architecture].student_module)


def modes(architecture: str) -> tuple[str, ...]:
    """Return the modes that an architecture can be asked in; none for an unknown one."""
    known = _architectures().get(architecture)
    return () if known is None else tuple(known.modes)


def starts_from_teacher(architecture: str) -> bool:
    """Tell whether runs start from the teacher itself."""
    return bool(_architectures()[architecture].starts_from_teacher)


def generator_updates(architecture: str, train: Mapping[str, Any]) -> int | None:
    """Return how often stage 2 updates the generator that translates, given its settings; None where unknown."""
    updates: int | None = _architectures()[architecture].generator_updates(train)
    return updates


def _architectures() -> Mapping[str, Any]:
    known: Mapping[str, Any] = importlib.import_module("kdx2i.methods.catalogue").architectures()
    return known


def resolved_settings(architecture: str, config: ArchitectureConfig, resolution: int, where: str) -> dict[str, Any]:
    """Return `networks`, `distill` and `train` at one resolution, checked and completed with defaults."""
    base = {"networks": config.networks, "distill": config.distill, "train": config.train}
    data = merged(base, config.at(resolution).model_dump(include=set(base)))
    if not implemented(architecture):
        return data
    settings: dict[str, Any] = validate(_architectures()[architecture].settings, data, where).model_dump(mode="json")
    return settings


@cache
def transfers() -> dict[str, dict[str, Any]]:
    """Return what each transfer changes, by name, as JSON: `kdx2i.distill.transfers.TRANSFERS` without labels."""
    table = importlib.import_module("kdx2i.distill.transfers").TRANSFERS
    changes = {name: asdict(settings) for name, settings in table.items()}
    return {name: {k: v for k, v in change.items() if k != "label"} for name, change in changes.items()}
