"""The folder of a run with small random networks, as a training leaves it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from repository import ROOT

from kdx2i.config import TaskName
from kdx2i.files import write_json
from kdx2i.methods.build import build_method
from kdx2i.stages.training_outputs import network_tensors
from kdx2i.training.checkpoint import save_tensors

CPU = torch.device("cpu")


def write_run(
    folder: Path,
    architecture: str,
    task: TaskName,
    networks: dict[str, Any],
    resolution: int,
    classes: Sequence[str],
    encoder: str | None = None,
) -> Any:
    """Write networks.safetensors and provenance.json, and return the method."""
    torch.manual_seed(0)
    encoders = None if encoder is None else ROOT / encoder
    method = build_method(architecture, {"networks": networks}, resolution, len(classes), CPU, encoders=encoders)
    save_tensors(folder / "networks.safetensors", network_tensors(method.averages), {"classes": list(classes)})
    spec = {
        "architecture": architecture,
        "transfer": "scratch",
        "resolution": resolution,
        "seed": 0,
        "networks": networks,
        "task": task,
        "dataset": "own",
        "transfer_settings": {},
        "train": {},
        "encoder_file": encoder,
    }
    write_json(folder / "provenance.json", {"spec": spec})
    return method
