"""A published checkpoint in the place of a run that was trained here, for a row of a table beside it."""

import json

import torch

from kdx2i.config import listed
from kdx2i.data.rows import Split
from kdx2i.errors import UserError
from kdx2i.files import write_text
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.official_models import build_published, read_published
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import RunSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.train import encoder_file
from kdx2i.stages.training_outputs import discard, network_tensors, publish
from kdx2i.tasks.opening import open_task
from kdx2i.training.determinism import derive_seed, describe_device, make_deterministic, pick_device
from kdx2i.training.loop import save_grid


def run(plan: Plan, leaf: Leaf[RunSpec]) -> None:
    """Write the published networks as those of the run; `UserError` where they do not fit its settings and classes."""
    spec = leaf.spec
    make_deterministic()
    device = pick_device()
    task = open_task(spec.task, Split(leaf.inputs["split"].folder), spec.resolution)
    path = plan.root / plan.official_file(spec.architecture, spec.dataset, spec.resolution)
    published = read_published(spec.architecture, path, spec.resolution)
    if published.one_direction:
        raise UserError(f"{path} is of one direction, and a row needs all: `kdx2i score --checkpoint` scores it")
    asked = architectures()[spec.architecture].modes
    if not set(asked) <= set(published.modes or asked):
        raise UserError(
            f"{path} cannot be asked in every mode of a row of {spec.architecture} ({listed(asked)}): "
            f"`kdx2i score --checkpoint` scores it by {listed(published.modes or ())}"
        )
    torch.manual_seed(derive_seed(spec.seed, "initialise"))
    method = build_published(
        spec.architecture,
        published,
        device,
        num_classes=len(task.classes),
        encoders=encoder_file(leaf),
        images=task.training_data(device),
        networks=spec.networks,
    )
    leaf.work.mkdir(parents=True, exist_ok=True)
    write_text(leaf.work / "log.jsonl", json.dumps({"step": 0}) + "\n")
    save_grid(leaf.work / "samples.png", *method.preview())
    publish(leaf, "networks.safetensors", network_tensors(method.averages), {"classes": task.classes})
    write_provenance(plan, leaf, device=describe_device(device))
    discard(leaf.work)
