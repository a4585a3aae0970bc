"""Ship an encoder of conditions: its weights, samples and provenance beside its recipe in `benchmarks/encoders/`."""

from pathlib import Path
from typing import Any

from kdx2i.files import write_bytes, write_json
from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import EncoderSpec
from kdx2i.provenance import require_current


def ship_encoder(plan: Plan, leaf: Leaf[EncoderSpec]) -> Path:
    """Copy a current encoder to `benchmarks/encoders/<name>.{safetensors,png,provenance.json}`; return its weights.

    The provenance has the measures on test images, which are those of the shipped file. An encoder that is missing,
    stale or damaged raises `UserError`.
    """
    require_current(leaf.upstream())
    target = plan.root / "benchmarks" / "encoders" / f"{leaf.spec.encoder}.safetensors"
    provenance: dict[str, Any] = read_document(leaf.provenance_path)
    write_bytes(target, leaf.file("encoder.safetensors").read_bytes())
    write_bytes(target.with_suffix(".png"), leaf.file("samples.png").read_bytes())
    shipped = {
        "sha256": provenance["outputs"]["encoder.safetensors"],
        "identity": leaf.identity,
        "protocol": provenance["protocol"],
        **provenance["training"],
    }
    write_json(target.with_suffix(".provenance.json"), shipped)
    return target
