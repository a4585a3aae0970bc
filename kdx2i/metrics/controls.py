"""Control rows: what the metrics say of real images, of the input handed back, and of noise.

They bound every table from both sides, through the same engine as the runs: the class-wise distances of real
against real are the floor that sample counts alone impose, and its accuracies the ceiling of RC and FC.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdx2i.metrics.classifiers.classifier import Classifier
from kdx2i.metrics.entries import Embedded, class_distances, classwise_entries, mean_distances
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.perceptual.diversity import diversity
from kdx2i.metrics.perceptual.trunks import build_perceptual
from kdx2i.metrics.scorer import Evaluator, RealImages
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.metrics.sources import draw_directed, draw_requests

CONTROLS = ("real_vs_real", "input_copied", "noise")


def halves(labels: Tensor, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two disjoint index sets (n,) with the same number of images of each class, drawn at random.

    `labels` is int64 (N,); of an odd class one image is left out.
    """
    first, second = [], []
    for label in range(classes):
        index = torch.nonzero(labels == label).flatten()
        index = index[torch.randperm(len(index), generator=generator)]
        half = len(index) // 2
        first.append(index[:half])
        second.append(index[half : 2 * half])
    return torch.cat(first), torch.cat(second)


def _real_against_real(evaluator: Evaluator, generator: torch.Generator, accuracies: bool) -> dict[str, Any]:
    """Return the values of real images in the place of generated ones.

    Class-wise: the mean over random halvings of the real set. Pooled: training against test images, or two
    halves where the pooled real set is not one role. RC and FC: the real classifier on real test images.
    """
    settings, names = evaluator.settings, evaluator.classes
    chosen = evaluator.part(settings.real_set)
    repeats = []
    for _ in range(settings.control_repeats):
        mine, other = halves(chosen.labels, len(names), generator)
        repeats.append(class_distances(chosen.where(mine), chosen.where(other), len(names), errors=False))
    entries = classwise_entries(mean_distances(repeats), names)
    for entry in entries.values():
        entry["repeats"] = settings.control_repeats
    entries |= evaluator.pooled(*_pooled_pair(evaluator, generator))
    if not accuracies:
        return entries
    train, test = evaluator.part("train"), evaluator.part("test")
    ceiling = {**evaluator.real_accuracy(test), "n_real": len(train) + len(test), "n_generated": 0}
    return {**entries, "RC": ceiling, "FC": dict(ceiling)}


def _pooled_pair(evaluator: Evaluator, generator: torch.Generator) -> tuple[Embedded, Embedded]:
    """Return real images to stand for generated ones and the pooled real set, or two halves where that is no role."""
    settings = evaluator.settings
    if settings.pooled_real_set == "all":
        everything = evaluator.part("all")
        mine, other = halves(everything.labels, len(evaluator.classes), generator)
        return everything.where(mine), everything.where(other)
    train, test = evaluator.part("train"), evaluator.part("test")
    return (train, test) if settings.pooled_real_set == "test" else (test, train)


def _copied(evaluator: Evaluator) -> Embedded:
    """Return the source images of the runs' own requests, labelled as outputs of their target class."""
    settings, real = evaluator.settings, evaluator.roles
    classes = len(evaluator.classes)
    requests = draw_requests(real.labels, real.is_test, classes, settings.images_per_class, settings.seed)
    source = evaluator.real.where(requests.sources)
    return Embedded(source.images, requests.targets, source.features, source.logits)


def _noise(evaluator: Evaluator, generator: torch.Generator) -> Embedded:
    """Return `images_per_class` images of uniform random grey levels for each class."""
    labels = torch.arange(len(evaluator.classes)).repeat_interleave(evaluator.settings.images_per_class)
    shape = (len(labels), *evaluator.real.images.shape[1:])
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return evaluator.embed(images, labels)


def directed_controls(evaluator: Evaluator, source: int, target: int) -> dict[str, Any]:
    """Return the values of the three controls for translations of one class to another.

    Real against real takes as many real images in place of translations as the evaluation asks for, where the class
    has so many; its entries give the number.
    """
    settings, real = evaluator.settings, evaluator.roles
    streams = [torch.Generator().manual_seed(1_000_003 * settings.seed + number) for number in (0, 2)]
    pair = [part.where(part.labels == target) for part in _pooled_pair(evaluator, streams[0])]
    chosen = torch.randperm(len(pair[0]), generator=streams[0])[: settings.images_per_direction]
    requests = draw_directed(real.labels, real.is_test, source, target, settings.images_per_direction, settings.seed)
    shape = (settings.images_per_direction, *real.images.shape[1:])
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=streams[1])
    return {
        "real_vs_real": evaluator.pooled(pair[0].where(chosen.sort().values), pair[1], 1),
        "input_copied": evaluator.directed_values(evaluator.real.where(requests.sources), target),
        "noise": evaluator.directed_values(evaluator.embed(noise, requests.targets), target),
    }


def evaluator_controls(
    evaluator: Evaluator, copied: tuple[Tensor, Tensor] | None = None, *, accuracies: bool = True
) -> dict[str, Any]:
    """Return the values of the three controls against an evaluator's real images; see `control_values`."""
    # One stream of random numbers each, so that no control changes when another one does.
    streams = [torch.Generator().manual_seed(1_000_003 * evaluator.settings.seed + number) for number in (0, 2)]
    inputs = _copied(evaluator) if copied is None else evaluator.embed(*copied)
    noise = _noise(evaluator, streams[1])
    found = {
        "real_vs_real": _real_against_real(evaluator, streams[0], accuracies),
        "input_copied": evaluator.values(inputs, accuracies=accuracies),
        "noise": evaluator.values(noise, accuracies=accuracies),
    }
    return found if evaluator.settings.diversity is None else _with_diversity(evaluator, found, inputs, noise)


def _with_diversity(
    evaluator: Evaluator, found: dict[str, dict[str, Any]], inputs: Embedded, noise: Embedded
) -> dict[str, dict[str, Any]]:
    """Add the entry LPIPS: between the real images of a class, between copies of one input, between noise images."""
    wanted, real = evaluator.settings.diversity, evaluator.part("all")
    assert wanted is not None
    network = build_perceptual(wanted.network, normalisation=wanted.normalisation, device=evaluator.device)
    classes = range(len(evaluator.classes))
    groups = {
        "real_vs_real": [real.images[real.labels == label] for label in classes],
        "input_copied": [image.expand(wanted.outputs, -1, -1, -1) for image in inputs.images[: wanted.sources]],
        "noise": [noise.images[noise.labels == label] for label in classes],
    }
    return {name: {**values, "LPIPS": diversity(groups[name], network)} for name, values in found.items()}


def control_values(
    real: RealImages,
    *,
    classes: Sequence[str],
    settings: EvaluationSettings,
    copied: tuple[Tensor, Tensor] | None = None,
    extractor: Extractor | None = None,
    weights_path: str | os.PathLike[str] | None = None,
    real_classifier: Classifier | None = None,
    cache_dir: Path | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, dict[str, Any]]:
    """Return {"real_vs_real", "input_copied", "noise"}, each with the values of `evaluate_classwise`.

    `copied` holds inputs, uint8 (N, 3, H, W), and the target class (N,) of each; by default they are those
    that `draw_requests` asks of every run. Deterministic given `settings.seed`. Errors as in the engine.
    """
    evaluator = Evaluator(
        real,
        classes,
        settings,
        extractor=extractor,
        weights_path=weights_path,
        real_classifier=real_classifier,
        cache_dir=cache_dir,
        device=device,
    )
    return evaluator_controls(evaluator, copied)
