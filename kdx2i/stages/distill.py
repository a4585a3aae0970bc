"""Stage `distill`: a teacher's file -> a distilled student, without any data."""

import torch

from kdx2i.distill.by_task import DISTILLATIONS
from kdx2i.distill.transfers import TransferSettings
from kdx2i.methods.build import build_student
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import DistillSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.training_outputs import discard, loop_settings, network_tensors, publish
from kdx2i.teacher.stylegan2.weights import load_teacher
from kdx2i.training import distributed
from kdx2i.training.determinism import derive_seed, describe_device, make_deterministic, pick_device
from kdx2i.training.loop import train


def run(plan: Plan, leaf: Leaf[DistillSpec]) -> None:
    """Distil the student of `leaf`, resuming what an interrupted job left."""
    spec = leaf.spec
    make_deterministic()
    distributed.start()
    device = pick_device()
    torch.manual_seed(derive_seed(spec.seed, "initialise"))
    settings = {"networks": spec.networks, "distill": spec.distill}
    student, budget = build_student(spec.architecture, settings, spec.resolution, device)
    teacher = load_teacher(plan.root / spec.teacher_file)
    transfer = TransferSettings.from_json(spec.transfer_settings)
    distillation = DISTILLATIONS[spec.distillation](student, teacher, budget, transfer, device)
    title = f"distill {spec.architecture} {spec.transfer} r{spec.resolution} s{spec.seed}"
    train(distillation, loop_settings(budget, spec.seed), leaf.work, title)
    if distributed.rank() == 0:
        networks = dict(distillation.averages)
        if transfer.trains_discriminator:
            networks["discriminator"] = distillation.networks["discriminator"]
        publish(leaf, "student.safetensors", network_tensors(networks), {"transfer": spec.transfer})
        write_provenance(plan, leaf, device=describe_device(device))
        discard(leaf.work)
    distributed.finish()
