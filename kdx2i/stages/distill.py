"""Stage `distill`: a teacher's file -> a distilled student and its measures, without any data."""

from kdx2i.files import write_json
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import DistillSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.students import kept_networks, measures_of, open_distillation
from kdx2i.stages.training_outputs import budget_settings, discard, network_tensors, publish
from kdx2i.training import distributed
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device
from kdx2i.training.loop import train


def run(plan: Plan, leaf: Leaf[DistillSpec]) -> None:
    """Distil the student of `leaf`, resuming what an interrupted job left, and measure it."""
    spec = leaf.spec
    make_deterministic()
    distributed.start()
    device = pick_device()
    distillation, budget = open_distillation(plan.root, spec, device)
    title = f"distill {spec.architecture} {spec.transfer} r{spec.resolution} s{spec.seed}"
    train(distillation, budget_settings(plan, budget, spec.seed), leaf.work, title)
    if distributed.rank() == 0:
        metrics = measures_of(distillation, spec)
        networks = kept_networks(distillation)
        publish(leaf, "student.safetensors", network_tensors(networks), {"transfer": spec.transfer})
        write_json(leaf.file("metrics.json"), metrics)
        write_provenance(plan, leaf, device=describe_device(device))
        discard(leaf.work)
    distributed.finish()
