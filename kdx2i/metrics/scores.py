"""The entries of metrics.json: a value with counts and uncertainty, or null with a reason, never NaN."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdx2i.metrics.classifier import Classifier, predict, wilson_interval
from kdx2i.metrics.features import Extractor
from kdx2i.metrics.frechet import frechet_distance
from kdx2i.metrics.kernel import kernel_distance, kernel_estimate, standard_error
from kdx2i.metrics.threads import single_thread

CLASSWISE = ("mFID", "mKIDx100")
METRICS = (*CLASSWISE, "KIDx100", "RC", "FC")


@dataclass(frozen=True)
class Embedded:
    """Labelled images with their features: uint8 (N, 3, H, W), int64 (N,), float32 (N, d), all on the CPU."""

    images: Tensor
    labels: Tensor
    features: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]

    def where(self, index: Tensor) -> "Embedded":
        """Return the images that a boolean mask (N,) or an index (M,) selects."""
        return Embedded(self.images[index], self.labels[index], self.features[index])

    def counts(self, classes: int) -> list[int]:
        """Return the number of images of each class."""
        counts: list[int] = torch.bincount(self.labels, minlength=classes).tolist()
        return counts


@dataclass(frozen=True)
class ClassDistances:
    """Per-class distances between a generated and a real set; None for a class with too few images.

    `values` maps each metric of `CLASSWISE` to one number a class; the counts are images per class.
    """

    values: dict[str, list[float | None]]
    n_generated: list[int]
    n_real: list[int]


def class_distances(generated: Embedded, real: Embedded, classes: int) -> ClassDistances:
    """Return the Frechet and 100 x kernel distance of each class; both need two images on each side."""
    n_generated, n_real = generated.counts(classes), real.counts(classes)
    found: dict[str, list[float | None]] = {name: [] for name in CLASSWISE}
    with single_thread():
        for label in range(classes):
            if min(n_generated[label], n_real[label]) < 2:
                frechet = kernel = None
            else:
                pair = generated.features[generated.labels == label], real.features[real.labels == label]
                frechet, kernel = frechet_distance(*pair), 100.0 * kernel_distance(*pair)
            found["mFID"].append(frechet)
            found["mKIDx100"].append(kernel)
    return ClassDistances(found, n_generated, n_real)


def mean_distances(repeats: Sequence[ClassDistances]) -> ClassDistances:
    """Return the class-by-class mean over repeats with equal counts."""
    values = {
        name: [
            None if None in column else math.fsum(column) / len(column)
            for column in zip(*(repeat.values[name] for repeat in repeats), strict=True)
        ]
        for name in CLASSWISE
    }
    return ClassDistances(values, repeats[0].n_generated, repeats[0].n_real)


def missing(reason: str, n_real: int, n_generated: int, classes: int) -> dict[str, Any]:
    """Return the entry of a metric that could not be computed."""
    return {
        "value": None,
        "reason": reason,
        "n_real": n_real,
        "n_generated": n_generated,
        "classes": classes,
    }


def classwise_entries(distances: ClassDistances, names: Sequence[str]) -> dict[str, Any]:
    """Return the entries mFID and mKIDx100: unweighted means over classes with their standard errors.

    One class without a value makes the mean null: a mean over fewer classes would be another metric.
    """
    return {metric: _mean_entry(distances, distances.values[metric], names) for metric in CLASSWISE}


def _mean_entry(distances: ClassDistances, values: list[float | None], names: Sequence[str]) -> dict[str, Any]:
    """Return one class-wise entry from its per-class values."""
    n_real, n_generated = sum(distances.n_real), sum(distances.n_generated)
    per_class = {
        name: {"value": value, "n_real": real, "n_generated": generated}
        for name, value, real, generated in zip(names, values, distances.n_real, distances.n_generated, strict=True)
    }
    present = [value for value in values if value is not None]
    if len(present) < len(values) or not values:
        short = [name for name, value in zip(names, values, strict=True) if value is None]
        first = f"{short[0]} has {per_class[short[0]]['n_generated']} generated and " if short else ""
        count = f"{per_class[short[0]]['n_real']} real" if short else "no class"
        reason = f"each class needs 2 generated and 2 real images: {first}{count} ({len(short)} such classes)"
        return {**missing(reason, n_real, n_generated, len(values)), "per_class": per_class}
    return {
        "value": math.fsum(present) / len(present),
        "standard_error": standard_error(present),
        "n_real": n_real,
        "n_generated": n_generated,
        "classes": len(values),
        "per_class": per_class,
    }


def pooled_entry(generated: Embedded, real: Embedded, classes: int) -> dict[str, Any]:
    """Return the entry KIDx100 over all classes at once, with its jackknife standard error."""
    counts = len(real), len(generated), classes
    if min(len(real), len(generated)) < 2:
        return missing("pooled KID needs 2 generated and 2 real images", *counts)
    with single_thread():
        estimate = kernel_estimate(generated.features, real.features)
    error = estimate.standard_error
    return {
        "value": 100.0 * estimate.value,
        "standard_error": None if error is None else 100.0 * error,
        "n_real": counts[0],
        "n_generated": counts[1],
        "classes": classes,
    }


def accuracy_entry(
    classifier: Classifier, tested: Embedded, names: Sequence[str], extractor: Extractor
) -> dict[str, Any]:
    """Return value, 95 % Wilson interval, standard error and per-class values of a top-1 accuracy in percent.

    `tested` holds at least one image. The caller adds n_real and n_generated.
    """
    with single_thread():
        found = predict(classifier, tested.images, extractor=extractor, features=tested.features)
    right = found == tested.labels
    correct, total = int(right.sum()), len(tested)
    share = correct / total
    per_class = {}
    for label, name in enumerate(names):
        mine = right[tested.labels == label]
        value = 100.0 * int(mine.sum()) / mine.shape[0] if mine.shape[0] else None
        per_class[name] = {"value": value, "n": mine.shape[0]}
    return {
        "value": 100.0 * share,
        "standard_error": 100.0 * math.sqrt(share * (1.0 - share) / total),
        "interval": list(wilson_interval(correct, total)),
        "classes": len(names),
        "per_class": per_class,
    }
