"""FID, KID and their means over classes, from the distances of a trial: what the catalogue's entries compute."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from kdx2i.metrics.distances.classwise import Classwise
from kdx2i.metrics.distances.estimates import Estimate, normal_estimate
from kdx2i.metrics.distances.infinity import frechet_infinity
from kdx2i.metrics.distances.kernel import kernel_distance_subsets
from kdx2i.metrics.distances.newton_schulz import newton_schulz_distance
from kdx2i.metrics.distances.samples import by_class, take
from kdx2i.metrics.distances.subsets import clean_fid_subsets, torch_fidelity_subsets
from kdx2i.metrics.entries import Entry, estimate_entry, missing, scaled
from kdx2i.metrics.threads import single_thread
from kdx2i.metrics.trial import Trial

_NO_ROOT = "50 Newton-Schulz steps in float32 end in no finite number: {} generated and {} real images are too few"


def fid(trial: Trial) -> Entry:
    """Return the entry FID: the Frechet distance of all images at once, with its jackknife error.

    With DeepI2I's matrix root the value is its own, None where the iteration has none, and the error the exact one's.
    """
    if trial.choices["fid"] == "exact":
        return estimate_entry(trial.distances.frechet, *_pooled_counts(trial))
    real, generated = trial.real.pooled_real, trial.generated
    value = newton_schulz_distance(generated.features, real.features, trial.real.device)
    if value is None:
        return trial.missing(_NO_ROOT.format(len(generated), len(real)))
    estimate = normal_estimate(value, trial.distances.frechet.standard_error)
    return estimate_entry(estimate, *_pooled_counts(trial))


def fid_infinity(trial: Trial) -> Entry:
    """Return the entry FIDinf: FID extrapolated to infinitely many generated images, or why it is not."""
    side = trial.real
    with single_thread():
        extrapolation = frechet_infinity(trial.generated.features, side.pooled_real.features, seed=side.settings.seed)
    if extrapolation.value is None:
        return trial.missing(str(extrapolation.reason))
    return {
        **estimate_entry(normal_estimate(extrapolation.value, None), *_pooled_counts(trial)),
        "linear": extrapolation.linear,
        "sizes": [min(extrapolation.sizes), max(extrapolation.sizes)],
    }


def kid(trial: Trial) -> Entry:
    """Return the entry KIDx100: 100 x the kernel distance of all images at once, with its jackknife error.

    Under a library's estimator the value is that of its random subsets and the error that of the full set: the noise
    of the draw comes on top.
    """
    kernel, estimator = trial.distances.kernel, trial.choices["kid"]
    if estimator == "full-set":
        estimate = normal_estimate(kernel.value, kernel.standard_error)
        return estimate_entry(estimate, *_pooled_counts(trial), scale=100.0)
    pair = trial.generated.features, trial.real.pooled_real.features
    with single_thread():
        value = subset_distance(estimator, *pair, trial.real.settings.seed)
    return estimate_entry(normal_estimate(value, scaled(kernel.standard_error, 100.0)), *_pooled_counts(trial))


def mean_fid(trial: Trial) -> Entry:
    """Return the entry mFID: the unweighted mean over classes, with the error from their images; roots as in `fid`."""
    distances = trial.distances.by_class
    mean = distances.mean_frechet()
    if mean is not None and trial.choices["fid"] != "exact":
        return _mean_by_steps(trial, mean)
    columns = distances.frechet, distances.frechet_errors
    return _mean_entry(distances, trial.real.classes, *columns, mean, 1.0)


def _mean_by_steps(trial: Trial, exact: Estimate) -> Entry:
    """Return the entry mFID by Newton-Schulz steps; no class after the first one without a value is tried."""
    classes, generated = trial.real.classes, trial.generated
    real = trial.real.part(trial.real.settings.real_set)
    counts = len(real), len(generated), len(classes)
    members = zip(by_class(generated.labels, len(classes)), by_class(real.labels, len(classes)), strict=True)
    values: list[float] = []
    for name, (own, others) in zip(classes, members, strict=True):
        pair = take(generated.features, own), take(real.features, others)
        value = newton_schulz_distance(*pair, trial.real.device)
        if value is None:
            return missing(f"{_NO_ROOT.format(len(own), len(others))} (class {name})", *counts)
        values.append(value)
    return estimate_entry(normal_estimate(math.fsum(values) / len(values), exact.standard_error), *counts)


def mean_kid(trial: Trial) -> Entry:
    """Return the entry mKIDx100: 100 x the unweighted mean over classes; estimators as in `kid`."""
    distances, estimator = trial.distances.by_class, trial.choices["kid"]
    mean, classes = distances.mean_kernel(), trial.real.classes
    if mean is None or estimator == "full-set":
        columns = distances.kernel, distances.kernel_errors
        return _mean_entry(distances, classes, *columns, mean, 100.0)
    settings = trial.real.settings
    real, generated = trial.real.part(settings.real_set), trial.generated
    members = zip(by_class(generated.labels, len(classes)), by_class(real.labels, len(classes)), strict=True)
    with single_thread():
        values = [
            subset_distance(estimator, take(generated.features, own), take(real.features, others), settings.seed)
            for own, others in members
        ]
    estimate = normal_estimate(math.fsum(values) / len(classes), scaled(mean.standard_error, 100.0))
    return estimate_entry(estimate, len(real), len(generated), len(classes))


def subset_distance(library: str, generated: Any, real: Any, seed: int) -> float:
    """Return 100 x the mean kernel distance over the 100 subsets that a library draws.

    Features are (n, d) and (m, d). Both libraries take min(n, m, 1000) images: clean-fid by itself, torch-fidelity
    when it is told to. clean-fid leaves NumPy's generator unseeded; here it has the seed `seed`, and torch-fidelity
    its own 2020.
    """
    subsets = _subsets(library, len(generated), len(real), seed)
    return 100.0 * float(kernel_distance_subsets(generated, real, *subsets).mean())


@lru_cache(maxsize=64)  # classes have few different counts, and drawing costs as much as the distances
def _subsets(library: str, n: int, m: int, seed: int) -> tuple[Any, Any]:
    if library == "torch-fidelity":
        return torch_fidelity_subsets(n, m, size=min(n, m, 1000))
    return clean_fid_subsets(n, m, seed=seed)


def _pooled_counts(trial: Trial) -> tuple[int, int, int]:
    """Return the numbers of real images, generated images and classes behind a pooled metric."""
    return len(trial.real.pooled_real), len(trial.generated), len(trial.real.classes)


def _mean_entry(
    distances: Classwise,
    names: Sequence[str],
    values: Sequence[float | None],
    errors: Sequence[float | None],
    mean: Estimate | None,
    scale: float,
) -> Entry:
    """Return one class-wise entry, its values multiplied by `scale`.

    One class without a value makes the mean null: a mean over fewer classes would be another metric.
    """
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
    return {**estimate_entry(mean, *counts, scale=scale), "per_class": per_class}
