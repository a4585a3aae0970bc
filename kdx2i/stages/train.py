"""Stage `train`: a split, and a distilled student or a teacher where the method starts from one -> a trained run."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdx2i.data.rows import Split
from kdx2i.distill.transfers import TransferSettings
from kdx2i.methods.build import build_method
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import RunSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.student_files import student_tensors
from kdx2i.stages.training_outputs import budget_settings, discard, network_tensors, publish
from kdx2i.tasks.opening import Task, open_task
from kdx2i.training import distributed
from kdx2i.training.determinism import derive_seed, describe_device, make_deterministic, pick_device
from kdx2i.training.loop import train
from kdx2i.training.starts import weights_follow


def run(plan: Plan, leaf: Leaf[RunSpec]) -> None:
    """Train the run of `leaf`, resuming what an interrupted job left."""
    spec = leaf.spec
    make_deterministic()
    distributed.start()
    device = pick_device()
    task = open_task(spec.task, Split(leaf.inputs["split"].folder), spec.resolution)
    method = initial_method(plan, leaf, task, device)
    title = f"train {spec.architecture} {spec.transfer} {spec.dataset} r{spec.resolution} s{spec.seed}"
    train(method, budget_settings(plan, method.settings.train, spec.seed), leaf.work, title)
    if distributed.rank() == 0:
        networks = {**method.networks, **method.averages}
        publish(leaf, "networks.safetensors", network_tensors(networks), {"classes": task.classes})
        write_provenance(plan, leaf, device=describe_device(device))
        discard(leaf.work)
    distributed.finish()


def encoder_file(run: Leaf[RunSpec]) -> Path | None:
    """Return the absolute path of the encoder of a run's conditions; None where it reads none."""
    return None if run.spec.encoder_file is None else run.root / run.spec.encoder_file


def initial_method(plan: Plan, leaf: Leaf[RunSpec], task: Task, device: torch.device) -> Any:
    """Return a run's method as its training starts: drawn from the seed, then the student or the teacher."""
    spec = leaf.spec
    settings = {"networks": spec.networks, "train": spec.train}
    data = task.training_data(device)
    torch.manual_seed(derive_seed(spec.seed, "initialise"))
    # A teacher replaces every network that would start orthogonal.
    with nullcontext() if spec.teacher_file is None else weights_follow():
        method = build_method(
            spec.architecture, settings, spec.resolution, len(task.classes), device, data, encoder_file(leaf)
        )
    transfer = TransferSettings.from_json(spec.transfer_settings)
    if transfer.distils:
        method.initialise(starting_tensors(plan, leaf, transfer), reset_encoders=transfer.reset_encoders)
    if spec.teacher_file is not None:
        method.start_from_teacher(plan.root / spec.teacher_file)
    return method


def starting_tensors(plan: Plan, leaf: Leaf[RunSpec], transfer: TransferSettings) -> dict[str, Tensor]:
    """Return the tensors that a run starts from, with the discriminator that its transfer says, or none."""

    def read(shipped: str | None, role: str) -> dict[str, Tensor]:
        path = plan.root / shipped if shipped else leaf.inputs[role].file("student.safetensors")
        return student_tensors(path)

    student = read(leaf.spec.student_file, "distilled")
    if transfer.discriminator == "student":
        return student
    others = {name: tensor for name, tensor in student.items() if not name.startswith("discriminator.")}
    if transfer.discriminator == "random":
        return others
    judge = read(leaf.spec.discriminator_file, "discriminator")
    return others | {name: tensor for name, tensor in judge.items() if name.startswith("discriminator.")}
