"""Stage `measure`: a shipped student and its teacher -> its measures on this machine."""

from kdx2i.files import write_json
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import MeasuredSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.student_files import student_tensors
from kdx2i.stages.students import measures_of, open_distillation, put_into
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device


def run(plan: Plan, leaf: Leaf[MeasuredSpec]) -> None:
    """Measure the shipped student of `leaf` on held-out triplets, as stage 1 measures what it has distilled."""
    make_deterministic()
    device = pick_device()
    distillation, _ = open_distillation(plan.root, leaf.spec, device)
    path = plan.root / leaf.spec.student_file
    put_into(distillation, student_tensors(path), path)
    write_json(leaf.file("metrics.json"), measures_of(distillation, leaf.spec))
    write_provenance(plan, leaf, device=describe_device(device))
