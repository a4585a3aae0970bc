"""Stage `adopt`: a training's result of other code -> the same result of today's code, where its first steps agree.

A result's identity changes with every line of code that its stage can reach. The first steps of a training, run again
from the same start (`kdx2i.training.fingerprint`), tell whether what changed computes something else. What the first
steps do not reach, such as a schedule that begins later, they do not tell.
"""

import importlib
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kdx2i.encoders.recipes import read_encoder_recipe
from kdx2i.errors import UserError
from kdx2i.files import read_json, sha256_file, sha256_json, write_json
from kdx2i.identity import code_hash
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import DISTILLED, ENCODER, FEATURES, RUN, STUDENT, TEACHER
from kdx2i.provenance import (
    broken_output,
    bytes_read,
    git_commit,
    instructions,
    machine_of,
    made_otherwise,
    seal,
    stated_by,
)
from kdx2i.stages import encoder, features
from kdx2i.stages.student_files import student_tensors
from kdx2i.stages.students import measures_of, open_distillation, put_into
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device
from kdx2i.training.fingerprint import FILE, Probed, probing

KINDS = (TEACHER, FEATURES, ENCODER, DISTILLED, STUDENT, RUN)
"""What can be adopted: the weights come out of the loop as they are, and what was measured is measured again."""


def run(plan: Plan, leaf: Leaf[Any]) -> None:
    """Take over the result at the address of `leaf`, whose inputs must be current.

    Its provenance then has the identity of today's code and says so under `adopted`. What was made from other settings,
    files or inputs, is not whole, has no fingerprint, or begins otherwise today raises `UserError` and is left alone.
    """
    document = stated_by(leaf)
    _require_same_start(plan, leaf, document)
    before, now = document["fingerprint"], _probe(plan, leaf)
    if now != before:
        step = next((number for number, pair in enumerate(zip(before, now, strict=False), 1) if pair[0] != pair[1]), 0)
        where = "" if (here := _machine()) == machine_of(document) else f" (or here on {here}: it was made elsewhere)"
        raise UserError(
            f"{leaf.name} is not adopted: under today's code{where} its training differs from step {step} on"
        )
    adoption = {
        "from": {name: document[name] for name in ("identity", "code_sha256", "git_commit")}
        | {"outputs_sha256": sha256_json(document["outputs"])},
        "to": {
            "identity": leaf.identity,
            "code_sha256": code_hash(leaf.code),
            "git_commit": git_commit(plan.root),
        },
        "probe": {"steps": len(now), "sha256": now[-1], "machine": _machine()},
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    rest = {name: value for name, value in document.items() if name != "sha256"} | {
        "identity": leaf.identity,
        "code_sha256": code_hash(leaf.code),
        "inputs": {upstream.name: upstream.identity for upstream in leaf.inputs.values()},
        "read": bytes_read(leaf),
        "protocol": plan.protocol_of(leaf.kind.flow),
        **_measured_again(plan, leaf, document),
        "adopted": [*document.get("adopted", []), adoption],
    }
    write_json(leaf.provenance_path, {**rest, "sha256": seal(rest)})


def _require_same_start(plan: Plan, leaf: Leaf[Any], document: Mapping[str, Any]) -> None:
    """Raise `UserError` unless the result on disk is whole and was made from what the leaf is, but for the code."""
    if leaf.kind not in KINDS:
        raise UserError(f"{leaf.name} is not adopted: results of the kind `{leaf.kind.name}` are made again")
    if plan.preset.resources.gpus > 1 and leaf.kind not in (FEATURES, ENCODER):  # These train on one.
        raise UserError(f"{leaf.name} is not adopted: a training on several GPUs is made again (docs/dvc.md)")
    reason = None
    if not document:
        reason = "it is not there"
    elif document.get("kind") != leaf.kind.name or document.get("sha256") != seal(document):
        reason = f"{leaf.provenance} is not the file that was written"
    elif (otherwise := made_otherwise(leaf, document)) is not None:
        reason = otherwise
    elif (broken := broken_output(leaf, document["outputs"], True)) is not None:
        reason = broken.sentence
    elif not document.get("fingerprint"):
        reason = "it was trained without recording its first steps"
    elif (other := _read_otherwise(leaf, document)) is not None:
        reason = f"{other}, from which it was made, has other bytes now"
    if reason is not None:
        raise UserError(f"{leaf.name} is not adopted: {reason}")


def _read_otherwise(leaf: Leaf[Any], document: Mapping[str, Any]) -> str | None:
    """Return the name of an input that has not the bytes that the result was made from, or None.

    An adopted student has the weights of before, whatever its measures are now.
    """
    read, now = document.get("read", {}), bytes_read(leaf)
    for upstream in leaf.inputs.values():
        adopted = stated_by(upstream).get("adopted", [])
        known = {now.get(upstream.name), *(one["from"]["outputs_sha256"] for one in adopted)}
        if read.get(upstream.name) is None or read[upstream.name] not in known:
            return upstream.name
    return None


def _probe(plan: Plan, leaf: Leaf[Any]) -> list[str]:
    """Run the first steps of the training of a leaf in a folder of their own, and return their hashes."""
    leaf.work.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=leaf.work.parent, prefix="probe-") as folder:
        try:
            with probing(Path(folder)):
                importlib.import_module(f"kdx2i.stages.{leaf.kind.stage}").run(plan, leaf)
        except Probed:
            hashes: list[str] = read_json(Path(folder) / FILE)
            return hashes
    raise UserError(f"{leaf.name} is not adopted: its stage ends without a training")


def _measured_again(plan: Plan, leaf: Leaf[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Write the measures of an adopted result anew, from its weights, and return what its provenance says of them."""
    if "metrics.json" not in leaf.outputs:
        return {}
    told: dict[str, Any] = {}
    make_deterministic()
    if leaf.kind is ENCODER:
        recipe = read_encoder_recipe(dict(leaf.spec.config), f"encoder {leaf.spec.encoder}")
        told["training"] = {**document["training"], "metrics": encoder.measure(plan, leaf)}
        told["protocol"] = encoder.protocol_of(plan, recipe)
    elif leaf.kind is FEATURES:
        features.measure(leaf)
    else:
        distillation, _ = open_distillation(plan.root, leaf.spec, pick_device())
        path = leaf.file("student.safetensors")
        put_into(distillation, student_tensors(path), path)
        write_json(leaf.file("metrics.json"), measures_of(distillation, leaf.spec))
    return {**told, "outputs": {**document["outputs"], "metrics.json": sha256_file(leaf.file("metrics.json"))}}


def _machine() -> str:
    return machine_of({"device": describe_device(pick_device()), "instructions": instructions()})
