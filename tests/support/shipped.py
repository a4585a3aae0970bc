"""Shipped students in copies: a recipe, a file with a header as `kdx2i ship` writes it, a preset that names it."""

from pathlib import Path
from typing import Any

import torch
import yaml

from kdx2i.files import sha256_file, write_json
from kdx2i.plan import Plan
from kdx2i.suite import make_plan
from kdx2i.training.checkpoint import save_tensors

NAME = "tiny-kd"
FILE = f"benchmarks/students/{NAME}.safetensors"
RECIPE: dict[str, Any] = {
    "name": NAME,
    "preset": "open-smoke",
    "architecture": "stargan_v2",
    "transfer": "kd",
    "resolution": 32,
    "distill": {"iterations": 3},
}
MEASURES = {"l1": 0.2, "l1_copy": 0.3, "l1_constant": 0.3, "l1_shuffled": 0.25, "response": 0.7, "retrieval": 60.0}


def metrics(*, distilled: bool) -> dict[str, Any]:
    """Return measures of stage 1 as metrics.json has them, with a verdict."""
    return {
        "triplets": 400,
        "guidance": {"reference": MEASURES, "latent": MEASURES},
        "alignment": {"encoder": {"32": 0.5}},
        "energy": 0.1,
        "energy_blend": 0.2,
        "distilled": distilled,
        "reason": "made up",
    }


def add_recipe(root: Path, **changes: Any) -> None:
    """Write the recipe of the tiny student."""
    path = root / "benchmarks/students" / f"{NAME}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(RECIPE | changes))


def add_preset(root: Path, name: str, students: dict[str, Any], extends: str = "open-smoke") -> None:
    """Write a preset that names shipped students."""
    text = yaml.safe_dump({"name": name, "extends": extends, "title": name, "students": students})
    (root / "benchmarks/presets" / f"{name}.yaml").write_text(text)


def pretend_shipped(root: Path, *, distilled: bool = True, value: float = 0.0) -> Plan:
    """Make up the shipped student of the recipe, and the preset `shipped` that names it; return that preset's plan."""
    add_recipe(root)
    leaf = make_plan(root, "open-smoke").student(NAME)
    header = {
        "name": NAME,
        "identity": leaf.identity,
        "spec": leaf.spec.as_json(),
        "files": dict(leaf.files),
        "metrics": metrics(distilled=distilled),
        "bits": 16,
    }
    save_tensors(root / FILE, {"generator.weight": torch.full((2,), value).half()}, header)
    write_json((root / FILE).with_suffix(".provenance.json"), {"sha256": sha256_file(root / FILE), **header})
    add_preset(root, "shipped", {"stargan_v2": {"kd": {32: FILE}}})
    return make_plan(root, "shipped")
