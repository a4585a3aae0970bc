"""Stage `features`: the training drawings of several datasets -> a feature network, and how well it knows test ones."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kdx2i.data.images import ImageSet, Split
from kdx2i.features.damaged import damaged
from kdx2i.features.recipes import FeatureRecipe
from kdx2i.features.training import Drawings, FeatureSettings, FeatureTraining, reduced
from kdx2i.files import write_json
from kdx2i.metrics.classifiers.probe import train_probe
from kdx2i.metrics.extractors.drawings import DrawingNetwork
from kdx2i.metrics.extractors.resize import resize_clean
from kdx2i.metrics.settings import ClassifierSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import FeaturesSpec
from kdx2i.provenance import git_commit, packages, split_sha256, write_provenance
from kdx2i.stages.training_outputs import discard, loop_settings, publish_records
from kdx2i.training.checkpoint import load_module, load_tensors, save_tensors
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device, seed_step
from kdx2i.training.loop import train

_NATIVE = 64  # pixels of a side of the drawings
_TRIALS = 100  # damaged test drawings
_NOT_STORED = "num_batches_tracked"


def run(plan: Plan, leaf: Leaf[FeaturesSpec]) -> None:
    """Train the feature network of `leaf`, resuming what an interrupted job left, and test it on test drawings."""
    make_deterministic()
    recipe, training, splits, kept = _open(leaf)
    loop = loop_settings(plan, recipe.iterations, leaf.spec.seed, sample_every=recipe.iterations, log_every=10)
    train(training, loop, leaf.work, f"features {recipe.name}, seed {leaf.spec.seed}")
    origin = {
        "features": {**recipe.as_json(), "seed": leaf.spec.seed},
        "images": {name: len(part.labels) for name, part in kept.items()},
        "images_seen": recipe.iterations * recipe.batch,
        "splits": {split.folder.name: split_sha256(split) for split in leaf.inputs.values()},
        "device": describe_device(training.device),
        "packages": packages(),
        "git_commit": git_commit(plan.root),
    }
    dtype = getattr(torch, recipe.stored)
    tensors = stored_tensors(training.network, kept[recipe.datasets[0]].classes, dtype)
    save_tensors(leaf.file("network.safetensors"), tensors, {"identity": leaf.identity})
    _measure(leaf, recipe, training, splits, kept)
    publish_records(leaf)
    write_provenance(plan, leaf, device=describe_device(training.device), extra={"training": origin})
    discard(leaf.work)


def measure(leaf: Leaf[FeaturesSpec]) -> None:
    """Test what the network's file holds, which may be rounded, on test drawings, and write `metrics.json`."""
    recipe, training, splits, kept = _open(leaf)
    path = leaf.file("network.safetensors")
    tensors, _ = load_tensors(path)
    counters = {name: value for name, value in training.network.state_dict().items() if name.endswith(_NOT_STORED)}
    stored = {name: tensor.float() for name, tensor in tensors.items() if name != "logits"}
    load_module(training.network, {**counters, **stored}, path)
    _measure(leaf, recipe, training, splits, kept)


def _open(leaf: Leaf[FeaturesSpec]) -> tuple[FeatureRecipe, FeatureTraining, dict[str, Split], dict[str, Drawings]]:
    """Return the recipe of a leaf, its training from the start, its splits, and the training images by data set."""
    recipe = FeatureRecipe.model_validate(dict(leaf.spec.config))
    splits = {folder.name: Split(folder) for folder in (split.folder for split in leaf.inputs.values())}
    kept = {name: training_drawings(splits, name, recipe) for name in recipe.datasets}
    settings = FeatureSettings(**recipe.model_dump(include=set(FeatureSettings.__dataclass_fields__)))
    return recipe, FeatureTraining(settings, list(kept.values()), leaf.spec.seed, pick_device()), splits, kept


def _measure(
    leaf: Leaf[FeaturesSpec],
    recipe: FeatureRecipe,
    training: FeatureTraining,
    splits: Mapping[str, Split],
    kept: Mapping[str, Drawings],
) -> None:
    """Write `metrics.json`: what the network of a training says of test drawings."""
    accuracy = {
        name: held_out(training, number, kept[name], ImageSet(splits[name], "test", _NATIVE))
        for number, name in enumerate(recipe.datasets)
        if any(row.role == "test" for row in splits[name].rows)
    }
    write_json(leaf.file("metrics.json"), {"accuracy": accuracy, "identity": leaf.identity})


def training_drawings(splits: Mapping[str, Split], name: str, recipe: FeatureRecipe) -> Drawings:
    """Return the training images of a dataset without those whose pixels are a test image of another one."""
    tested = held_out_pixels(splits, recipe)
    images = ImageSet(splits[name], "train", _NATIVE)
    chosen = torch.tensor([row.pixels_sha256 not in tested for row in images.rows])
    return Drawings(images.stack()[chosen], images.labels[chosen], len(splits[name].classes))


def held_out_pixels(splits: Mapping[str, Split], recipe: FeatureRecipe) -> set[str]:
    """Return the checksums of the pixels of all test images that no training image may have."""
    rows = (row for name in recipe.without_tests_of for row in splits[name].rows)
    return {row.pixels_sha256 for row in rows if row.role == "test"}


def stored_tensors(network: DrawingNetwork, classes: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return a network's state with the weights of convolutions and head in `dtype`, and the number of its logits."""
    state = {name: value for name, value in network.state_dict().items() if not name.endswith(_NOT_STORED)}
    short = {name: value.to(dtype) if value.ndim > 1 else value for name, value in state.items()}
    return {**short, "logits": torch.tensor(classes)}


@torch.no_grad()
def held_out(training: FeatureTraining, number: int, train_set: Drawings, test: ImageSet) -> dict[str, Any]:
    """Return what the network says of the test images of its data set `number`, in %, by size in pixels.

    `head`: top-1 accuracy of the set's own head; `probe`: of a linear probe on the features of the training images,
    as RC has it; `degraded`: test images that the head takes for degraded; `damaged_found`: damaged test images,
    fully damaged ones only, that it takes for degraded.
    """
    network, settings = training.network.eval(), training.settings
    start, values = training.starts[number], {}

    def answers(images: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.cat([network.features(part) for part in inputs_of(images, settings.input_size).split(64)])  # type: ignore[no-untyped-call]
        logits = network.head(features)
        return features.cpu(), torch.cat([logits[:, start : start + train_set.classes], logits[:, -1:]], 1).cpu()

    for size in settings.sizes:
        features, logits = answers(reduced(test.stack(), size))
        learned = answers(reduced(train_set.images, size))[0]
        rule = ClassifierSettings()
        probe = train_probe(learned, train_set.labels, train_set.classes, rule.l2, rule.max_iterations)
        seed_step(0, size)
        pick = torch.randint(len(test), (_TRIALS, 6))
        trials = [damaged(reduced(test.stack()[index], size)) for index in pick]
        found = answers(torch.cat([image for image, share in trials if share == 1.0]))[1]
        values[str(size)] = {
            "head": _percent(logits[:, :-1].argmax(1) == test.labels),
            "probe": _percent(probe.logits(features).argmax(1) == test.labels),
            "degraded": _percent(logits.argmax(1) == train_set.classes),
            "damaged_found": _percent(found.argmax(1) == train_set.classes),
        }
    return {"test_images": len(test), "classes": train_set.classes, "by_size": values}


def inputs_of(images: Tensor, size: int) -> Tensor:
    """Return the network inputs (N, 3, size, size) in [-1, 1] of images (N, 3, R, R) in [0, 255]."""
    return (resize_clean(images, size) / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


def _percent(right: Tensor) -> float:
    return round(100.0 * float(right.float().mean()), 2)
