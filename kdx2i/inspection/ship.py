"""Ship a trained teacher: its weights, samples and provenance beside its recipe in `benchmarks/teachers/`."""

from pathlib import Path
from typing import Any

from kdx2i.files import write_bytes, write_json
from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import TeacherSpec
from kdx2i.provenance import require_current


def ship_teacher(plan: Plan, leaf: Leaf[TeacherSpec]) -> Path:
    """Copy a current teacher to `benchmarks/teachers/<name>.{safetensors,png,provenance.json}` and return its weights.

    A teacher that is missing, stale or damaged raises `UserError`.
    """
    require_current(leaf.upstream())
    target = plan.root / "benchmarks" / "teachers" / f"{leaf.spec.teacher}.safetensors"
    provenance: dict[str, Any] = read_document(leaf.provenance_path)
    write_bytes(target, leaf.file("teacher.safetensors").read_bytes())
    write_bytes(target.with_suffix(".png"), leaf.file("samples.png").read_bytes())
    shipped = {
        "sha256": provenance["outputs"]["teacher.safetensors"],
        "identity": leaf.identity,
        **provenance["training"],
    }
    write_json(target.with_suffix(".provenance.json"), shipped)
    return target
