"""What the stages around students share: a distillation opened from its spec, a student's file, its measures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdx2i.distill.by_task import load_distillation, load_measure
from kdx2i.distill.transfers import TransferSettings
from kdx2i.methods.build import build_student
from kdx2i.plan.specs import DistillSpec
from kdx2i.teacher.stylegan2.weights import load_teacher
from kdx2i.training.checkpoint import load_module, select
from kdx2i.training.determinism import derive_seed

HELD_OUT_SEED = 0
"""The seed of the held-out triplets: the same for every student, whatever its own."""


def open_distillation(root: Path, spec: DistillSpec, device: torch.device) -> tuple[Any, Any]:
    """Return the distillation of a spec, its student drawn from the seed, and its checked settings of stage 1."""
    torch.manual_seed(derive_seed(spec.seed, "initialise"))
    settings = {"networks": spec.networks, "distill": spec.distill}
    student, budget = build_student(spec.architecture, settings, spec.resolution, device)
    teacher = load_teacher(root / spec.teacher_file)
    transfer = TransferSettings.from_json(spec.transfer_settings)
    return load_distillation(spec.distillation)(student, teacher, budget, transfer, device), budget


def kept_networks(distillation: Any) -> dict[str, nn.Module]:
    """Return the networks that a student's file holds.

    The averages, the discriminator where it was trained, and the hint layers, which the measures of alignment need.
    """
    names = (["discriminator"] if distillation.transfer.trains_discriminator else []) + ["hints"]
    trained = {name: distillation.networks[name] for name in names if name in distillation.networks}
    return {**distillation.averages, **trained}


def put_into(distillation: Any, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put a student's tensors (any shape, by name) into a distillation, as if it had just been trained.

    Tensors that do not fit raise `UserError` naming `path`.
    """
    for name, module in kept_networks(distillation).items():
        load_module(module, select(tensors, name), path)
        module.eval()


def measures_of(distillation: Any, spec: DistillSpec) -> dict[str, Any]:
    """Return the measures of a distillation's averaged student on the held-out triplets (metrics.json)."""
    measured: dict[str, Any] = load_measure(spec.distillation)(distillation, HELD_OUT_SEED, spec.held_out)
    return measured
