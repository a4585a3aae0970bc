"""Stage `encoder`: training images and their conditions -> an encoder, and how well it finds those of test images."""

import importlib
from typing import Any

import torch

from kdx2i.data.rows import Split
from kdx2i.encoders.held_out import captions_of, retrieval, unseen_words
from kdx2i.encoders.matching import load_matcher
from kdx2i.encoders.recipes import Recipe, SpeechRecipe, read_encoder_recipe
from kdx2i.files import write_json
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import EncoderSpec
from kdx2i.provenance import git_commit, packages, split_sha256, write_provenance
from kdx2i.stages.training_outputs import discard, loop_settings, publish_records
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device
from kdx2i.training.loop import train

OF_A_KIND = frozenset(
    {"damsm-trunk", "damsm-trunk-statistics", "damsm-unseen-words"}
    | {"s2igan-speech-encoder", "s2igan-frame-padding", "s2igan-image-network"}
)
"""Entries of the register that one kind of encoder alone chooses: `choices` of its recipe."""


def run(plan: Plan, leaf: Leaf[EncoderSpec]) -> None:
    """Train the encoder of `leaf`, resuming what an interrupted job left, and test what its file holds."""
    make_deterministic()
    device = pick_device()
    recipe, kind, task = _open(leaf)
    training = kind.begin(recipe, task, device)
    loop = loop_settings(plan, recipe.train.iterations, recipe.seed, sample_every=100, log_every=10)
    train(training, loop, leaf.work, f"encoder {recipe.name}")
    made = {
        "encoder": recipe.as_json(),
        "images": int((~task.is_test).sum()),
        "images_seen": recipe.train.iterations * recipe.train.batch,
        "split_sha256": split_sha256(leaf.inputs["split"]),
    }
    kind.save(
        training, leaf.file("encoder.safetensors"), getattr(torch, recipe.stored), {**made, "identity": leaf.identity}
    )
    document = _measure(plan, leaf, recipe, task)
    publish_records(leaf)
    origin = {
        **made,
        "metrics": document,
        "device": describe_device(device),
        "packages": packages(),
        "git_commit": git_commit(plan.root),
    }
    extra: dict[str, Any] = {"training": origin, "protocol": protocol_of(plan, recipe)}
    write_provenance(plan, leaf, device=describe_device(device), extra=extra)
    discard(leaf.work)


def measure(plan: Plan, leaf: Leaf[EncoderSpec]) -> dict[str, Any]:
    """Test what the encoder's file holds on test images, write `metrics.json`, and return the measures."""
    recipe, _, task = _open(leaf)
    return _measure(plan, leaf, recipe, task)


def _open(leaf: Leaf[EncoderSpec]) -> tuple[Recipe, Any, Any]:
    """Return the recipe of a leaf, the module of its kind, and its task, opened on the split."""
    recipe = read_encoder_recipe(dict(leaf.spec.config), f"encoder {leaf.spec.encoder}")
    kind = importlib.import_module(recipe.module)
    return recipe, kind, kind.open_task(Split(leaf.inputs["split"].folder), recipe.resolution)


def _measure(plan: Plan, leaf: Leaf[EncoderSpec], recipe: Recipe, task: Any) -> dict[str, Any]:
    weights = recipe.image_weights if isinstance(recipe, SpeechRecipe) else None
    matcher = load_matcher(leaf.file("encoder.safetensors"), pick_device(), image_weights=weights)
    # Published speech may come without the text that was read.
    written = "captions" in plan.dataset(recipe.dataset).conditions
    document = {
        "retrieval": retrieval(matcher, task),
        "words": unseen_words(captions_of(task, "train"), captions_of(task, "test")) if written else None,
    }
    write_json(leaf.file("metrics.json"), {**document, "identity": leaf.identity})
    return document


def protocol_of(plan: Plan, recipe: Recipe) -> dict[str, str]:
    """Return the register's choices that an encoder depends on: those of its recipe, which no preset switches."""
    stated = {name: choice for name, choice in plan.protocol_of("encoder").items() if name not in OF_A_KIND}
    return stated | recipe.choices
