"""Encoders and feature networks of earlier code are taken over where they begin alike, and refused elsewhere.

`tests/workflow/test_adopt.py` changes code for real, for students and rows.
"""

from pathlib import Path
from typing import Any

import pytest
import spoken
import yaml
from repository import settings_copy
from tiny_encoders import DATASETS, prepared
from torch.nn import functional
from typer.testing import CliRunner

from kdx2i.cli import app
from kdx2i.encoders.damsm import training as damsm
from kdx2i.encoders.speech import training as speech
from kdx2i.errors import UserError
from kdx2i.files import read_json, sha256_file, write_json
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import problem, seal
from kdx2i.stages import adopt, encoder, features
from kdx2i.suite import make_plan

FEATURES = {
    "name": "tiny",
    "title": "tiny",
    "datasets": [DATASETS["damsm"]],
    "iterations": 4,
    "batch": 4,
    "sizes": [32],
    "stored": "float32",
}


def trained(root: Path, kind: str) -> tuple[Plan, Leaf[Any]]:
    """Return a plan and its encoder `tiny-<kind>`, or its feature network, which has just been trained."""
    plan = prepared(root, "damsm" if kind == "features" else kind)
    if kind != "features":
        leaf: Leaf[Any] = plan.encoder(f"tiny-{kind}")
        encoder.run(plan, leaf)
        return plan, leaf
    (root / "benchmarks/features/tiny.yaml").write_text(yaml.safe_dump(FEATURES))
    plan = make_plan(root, "open")
    leaf = plan.features("tiny", 0)
    features.run(plan, leaf)
    return plan, leaf


def of_earlier_code(leaf: Leaf[Any]) -> dict[str, Any]:
    """Let the result of a leaf be one of earlier code, and return its provenance."""
    metrics = leaf.file("metrics.json")
    write_json(metrics, {**read_json(metrics), "identity": "0" * 64})
    made = read_json(leaf.provenance_path)
    outputs = {**made["outputs"], "metrics.json": sha256_file(metrics)}
    earlier: dict[str, Any] = {**made, "identity": "0" * 64, "code_sha256": "1" * 64, "outputs": outputs}
    write_json(leaf.provenance_path, {**earlier, "sha256": seal(earlier)})
    return earlier


LOSSES: dict[str, tuple[Any, str]] = {
    "damsm": (damsm, "damsm_loss"),
    "speech": (speech, "matching_losses"),
    "features": (functional, "cross_entropy"),
}
"""The loss that a wrong change of code changes by a thousandth: its place and its name there."""


def louder(value: Any) -> Any:
    """Return losses a thousandth above."""
    if isinstance(value, dict):
        return {name: louder(one) for name, one in value.items()}
    return tuple(map(louder, value)) if isinstance(value, tuple) else 1.001 * value


@pytest.mark.parametrize("kind", LOSSES)
def test_what_begins_alike_is_adopted_and_a_changed_loss_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    spoken.register(monkeypatch)
    plan, leaf = trained(tmp_path, kind)
    made = {name: leaf.file(name).read_bytes() for name in leaf.outputs}
    first = read_json(leaf.provenance_path)
    assert len(first["fingerprint"]) == 3
    earlier = of_earlier_code(leaf)
    assert (stale := problem(leaf)) is not None and stale.kind == "stale"

    place, name = LOSSES[kind]
    loss = getattr(place, name)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, lambda *args: louder(loss(*args)))
        with pytest.raises(UserError, match="under today's code its training differs from step 1 on"):
            adopt.run(plan, leaf)
    assert read_json(leaf.provenance_path)["identity"] == "0" * 64

    monkeypatch.setenv("KDX2I_ROOT", str(tmp_path))
    done = CliRunner().invoke(app, ["adopt", "--preset", "open"])
    assert done.exit_code == 0 and f"{leaf.name}: adopted\n1 results adopted, 0 not" in done.output, done.output
    # What was measured has been measured again, from the weights as they are stored.
    assert {name: leaf.file(name).read_bytes() for name in leaf.outputs} == made
    told = read_json(leaf.provenance_path)
    (adoption,) = told.pop("adopted")
    assert (
        adoption["from"]["identity"] == earlier["identity"] and adoption["probe"]["sha256"] == first["fingerprint"][2]
    )
    assert {**told, "sha256": ""} == {**first, "sha256": ""}


def test_a_training_on_several_gpus_is_not_adopted(tmp_path: Path) -> None:
    preset = settings_copy(tmp_path) / "benchmarks/presets/open.yaml"
    preset.write_text(f"{preset.read_text()}resources: {{gpus: 2}}\n")
    plan = make_plan(tmp_path, "open")
    with pytest.raises(UserError, match="is not adopted: a training on several GPUs is made again"):
        adopt.run(plan, plan.teacher("faces-r32-long"))
