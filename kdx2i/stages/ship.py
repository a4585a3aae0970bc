"""Shipping a student: half precision, measured as it is shipped, with its provenance, beside its recipe."""

from pathlib import Path

import torch

from kdx2i.errors import UserError
from kdx2i.files import sha256_file, write_bytes, write_json
from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.shipped import BITS
from kdx2i.plan.specs import DistillSpec
from kdx2i.provenance import require_current
from kdx2i.stages.student_files import student_tensors
from kdx2i.stages.students import measures_of, open_distillation, put_into
from kdx2i.training.checkpoint import load_tensors, save_tensors
from kdx2i.training.determinism import make_deterministic, pick_device


def ship_student(plan: Plan, leaf: Leaf[DistillSpec]) -> Path:
    """Write `benchmarks/students/<name>.{safetensors,png,provenance.json}` from a current student; return its weights.

    The weights are rounded to half precision and measured again as they are shipped: those measures stand in the
    header and in the provenance. A student that is missing, stale or damaged, or whose teacher is not shipped,
    raises `UserError`.
    """
    require_current(leaf.upstream())
    spec = leaf.spec
    if spec.teacher_file not in leaf.files:
        raise UserError(
            f"{leaf.name} was distilled from a teacher that is not shipped ({spec.teacher_file}): "
            "ship the teacher with `kdx2i ship` and name its file in the preset"
        )
    name = str(leaf.address["student"])
    target = plan.root / "benchmarks" / "students" / f"{name}.safetensors"
    tensors, _ = load_tensors(leaf.file("student.safetensors"))
    half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in half.values()):
        raise UserError(f"{leaf.name} has weights that are no numbers in half precision: it cannot be shipped")
    rounded = target.with_suffix(".unmeasured")
    try:
        save_tensors(rounded, half, {})
        metrics = _measured(plan, spec, rounded)
    finally:
        rounded.unlink(missing_ok=True)
    made = read_document(leaf.provenance_path)
    header = {
        "name": name,
        "identity": leaf.identity,
        "spec": spec.as_json(),
        "files": dict(leaf.files),
        "metrics": metrics,
        "bits": BITS,
    }
    save_tensors(target, half, header)
    write_bytes(target.with_suffix(".png"), leaf.file("samples.png").read_bytes())
    kept = ("inputs", "code_sha256", "packages", "python", "device", "git_commit", "protocol")
    shipped = {"sha256": sha256_file(target), **header, **{key: made[key] for key in kept}}
    write_json(target.with_suffix(".provenance.json"), shipped)
    return target


def _measured(plan: Plan, spec: DistillSpec, path: Path) -> dict[str, object]:
    """Return the measures of the student in a file."""
    make_deterministic()
    distillation, _ = open_distillation(plan.root, spec, pick_device())
    put_into(distillation, student_tensors(path), path)
    return measures_of(distillation, spec)
