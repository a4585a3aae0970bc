"""The entries of metrics.json: a value with counts and uncertainty, or null with a reason, never NaN."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdx2i.metrics.classifiers.classifier import Classifier, predict, wilson_interval
from kdx2i.metrics.distances.classwise import Classwise, classwise_distances
from kdx2i.metrics.distances.estimates import Estimate, normal_estimate
from kdx2i.metrics.distances.frechet_error import frechet_estimate
from kdx2i.metrics.distances.infinity import frechet_infinity
from kdx2i.metrics.distances.kernel import kernel_estimate
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.threads import single_thread

CLASSWISE = ("mFID", "mKIDx100")
POOLED = ("FID", "KIDx100")
METRICS = (*CLASSWISE, *POOLED, "RC", "FC")


@dataclass(frozen=True)
class Embedded:
    """Labelled images with their features: uint8 (N, 3, H, W), int64 (N,), float32 (N, d), all on the CPU.

    `logits` float32 (N, K) where the extractor is a classifier.
    """

    images: Tensor
    labels: Tensor
    features: Tensor
    logits: Tensor | None = None

    def __len__(self) -> int:
        return self.images.shape[0]

    def where(self, index: Tensor) -> "Embedded":
        """Return the images that a boolean mask (N,) or an index (M,) selects."""
        logits = None if self.logits is None else self.logits[index]
        return Embedded(self.images[index], self.labels[index], self.features[index], logits)

    def counts(self, classes: int) -> list[int]:
        """Return the number of images of each class."""
        counts: list[int] = torch.bincount(self.labels, minlength=classes).tolist()
        return counts


def class_distances(generated: Embedded, real: Embedded, classes: int, *, errors: bool = True) -> Classwise:
    """Return the Frechet and kernel distance of each class, from one Gram matrix a class."""
    if min(len(generated), len(real)) < 2:
        none: list[float | None] = [None] * classes
        return Classwise(none, none, none, none, generated.counts(classes), real.counts(classes))
    pair = (generated.features, generated.labels, real.features, real.labels)
    return classwise_distances(*pair, classes, errors=errors)


def mean_distances(repeats: Sequence[Classwise]) -> Classwise:
    """Return the class-by-class mean over repeats with equal counts, without errors: repeats are not independent."""
    first = repeats[0]
    means = [_column_means([getattr(repeat, name) for repeat in repeats]) for name in ("frechet", "kernel")]
    none: list[float | None] = [None] * len(first.frechet)
    return Classwise(means[0], means[1], none, none, first.first_counts, first.second_counts)


def _column_means(repeats: Sequence[list[float | None]]) -> list[float | None]:
    """Return the mean of each class over repeats, None where one repeat has none."""
    columns = [[value for value in column if value is not None] for column in zip(*repeats, strict=True)]
    return [math.fsum(column) / len(column) if len(column) == len(repeats) else None for column in columns]


def missing(reason: str, n_real: int, n_generated: int, classes: int) -> dict[str, Any]:
    """Return the entry of a metric that could not be computed."""
    return {
        "value": None,
        "reason": reason,
        "n_real": n_real,
        "n_generated": n_generated,
        "classes": classes,
    }


def classwise_entries(distances: Classwise, names: Sequence[str]) -> dict[str, Any]:
    """Return the entries mFID and mKIDx100: unweighted means over classes, with the error from their images.

    One class without a value makes the mean null: a mean over fewer classes would be another metric.
    """
    columns = (
        (distances.frechet, distances.frechet_errors, distances.mean_frechet(), 1.0),
        (distances.kernel, distances.kernel_errors, distances.mean_kernel(), 100.0),
    )
    return {metric: _mean_entry(distances, names, *column) for metric, column in zip(CLASSWISE, columns, strict=True)}


def _mean_entry(
    distances: Classwise,
    names: Sequence[str],
    values: Sequence[float | None],
    errors: Sequence[float | None],
    mean: Estimate | None,
    scale: float,
) -> dict[str, Any]:
    """Return one class-wise entry, its values multiplied by `scale`."""
    generated, real = distances.first_counts, distances.second_counts
    per_class = {
        name: {"value": scaled(value, scale), "standard_error": scaled(error, scale), "n_real": m, "n_generated": n}
        for name, value, error, m, n in zip(names, values, errors, real, generated, strict=True)
    }
    counts = sum(real), sum(generated), len(names)
    if mean is None:
        short = [name for name, entry in per_class.items() if entry["value"] is None]
        first = f"{short[0]} has {per_class[short[0]]['n_generated']} generated and " if short else ""
        count = f"{per_class[short[0]]['n_real']} real" if short else "no class"
        reason = f"each class needs 2 generated and 2 real images: {first}{count} ({len(short)} such classes)"
        return {**missing(reason, *counts), "per_class": per_class}
    return {**entry(mean, *counts, scale=scale), "per_class": per_class}


def entry(found: Estimate, n_real: int, n_generated: int, classes: int, *, scale: float = 1.0) -> dict[str, Any]:
    """Return the entry of a value with its standard error and 95 % interval, all multiplied by `scale`."""
    low, high = scaled(found.low, scale), scaled(found.high, scale)
    return {
        "value": found.value * scale,
        "standard_error": scaled(found.standard_error, scale),
        "interval": None if low is None else [low, high],
        "n_real": n_real,
        "n_generated": n_generated,
        "classes": classes,
    }


def scaled(number: float | None, scale: float) -> float | None:
    """Return a number times `scale`, None for None."""
    return None if number is None else number * scale


def pooled_entries(generated: Embedded, real: Embedded, classes: int) -> dict[str, Any]:
    """Return the entries FID and KIDx100 over all classes at once, with their jackknife errors."""
    counts = len(real), len(generated), classes
    if min(len(real), len(generated)) < 2:
        return {name: missing("pooled metrics need 2 generated and 2 real images", *counts) for name in POOLED}
    with single_thread():
        frechet = frechet_estimate(generated.features, real.features)
        kernel = kernel_estimate(generated.features, real.features)
    found = normal_estimate(kernel.value, kernel.standard_error)
    return {"FID": entry(frechet, *counts), "KIDx100": entry(found, *counts, scale=100.0)}


def infinity_entry(generated: Embedded, real: Embedded, classes: int, seed: int) -> dict[str, Any]:
    """Return the entry FIDinf: FID extrapolated to infinitely many generated images, or why it is not."""
    counts = len(real), len(generated), classes
    if min(len(real), len(generated)) < 2:
        return missing("FID needs 2 generated and 2 real images", *counts)
    with single_thread():
        found = frechet_infinity(generated.features, real.features, seed=seed)
    if found.value is None:
        return missing(str(found.reason), *counts)
    return {
        **entry(normal_estimate(found.value, None), *counts),
        "linear": found.linear,
        "sizes": [min(found.sizes), max(found.sizes)],
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
