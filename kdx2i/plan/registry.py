"""What the suite has, found by name: architectures, their settings and modes, transfers.

The rooms asked here stand further right in the order of the layers. They are looked up by name, like
plug-ins, and only their settings modules are imported, which hold plain data and no torch.
"""

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from kdx2i.config import ArchitectureConfig, merged, validate

METHODS = Path(__file__).parents[1] / "methods"
DEFAULT_MODES = ("latent", "reference")


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
    """Tell whether the suite has the architecture: `kdx2i/methods/<architecture>/method.py` exists."""
    return (METHODS / architecture / "method.py").is_file()


def method_module(architecture: str) -> str:
    """Return the module of an architecture's method."""
    return f"kdx2i.methods.{architecture}.method"


def student_module(architecture: str) -> str:
    """Return the module of the student that stage 1 distils: `student` of the method's folder, or the method."""
    if (METHODS / architecture / "student.py").is_file():
        return f"kdx2i.methods.{architecture}.student"
    return method_module(architecture)


def modes(architecture: str) -> tuple[str, ...]:
    """Return the modes that an architecture can be asked in: `MODES` of its settings module."""
    module = _settings_module(architecture)
    return tuple(getattr(module, "MODES", DEFAULT_MODES))


def starts_from_teacher(architecture: str) -> bool:
    """Tell whether runs start from the teacher itself: `STARTS_FROM_TEACHER` of the settings module.

    The method then has `start_from_teacher(path)`, which the train stage calls with the teacher's file.
    """
    return bool(getattr(_settings_module(architecture), "STARTS_FROM_TEACHER", False))


def generator_updates(architecture: str, train: Mapping[str, Any]) -> int | None:
    """Return how often stage 2 updates the generator that translates, given its settings; None where unknown.

    It is `iterations`, or what `generator_updates(train)` of the settings module says.
    """
    count = getattr(_settings_module(architecture), "generator_updates", None)
    updates = count(train) if count and train else train.get("iterations")
    return updates if isinstance(updates, int) and not isinstance(updates, bool) else None


def _settings_module(architecture: str) -> Any:
    """Import the torch-free settings of an architecture, or return None where it has none."""
    if not (METHODS / architecture / "settings.py").is_file():
        return None
    return importlib.import_module(f"kdx2i.methods.{architecture}.settings")


def resolved_settings(architecture: str, config: ArchitectureConfig, resolution: int, where: str) -> dict[str, Any]:
    """Return `networks`, `distill` and `train` at one resolution, checked and completed with defaults."""
    base = {"networks": config.networks, "distill": config.distill, "train": config.train}
    data = merged(base, config.at(resolution).model_dump(include=set(base)))
    module = _settings_module(architecture)
    if module is None:
        return data
    settings: dict[str, Any] = validate(module.Settings, data, where).model_dump(mode="json")
    return settings


@cache
def transfers() -> dict[str, dict[str, Any]]:
    """Return what each transfer changes, by name, as JSON: `kdx2i.distill.transfers.TRANSFERS` without labels."""
    table = importlib.import_module("kdx2i.distill.transfers").TRANSFERS
    changes = {name: asdict(settings) for name, settings in table.items()}
    return {name: {k: v for k, v in change.items() if k != "label"} for name, change in changes.items()}
