"""The same images under every registered protocol: one measurement for each alternative that a metric depends on.

One set of features serves all real sets, counts and estimators: they are selections of the same rows.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.classifiers.probe import train_probe
from kdx2i.metrics.distances.classwise import classwise_distances
from kdx2i.metrics.distances.frechet_error import frechet_estimate
from kdx2i.metrics.distances.kernel import kernel_distance_subsets, kernel_estimate
from kdx2i.metrics.distances.samples import by_class
from kdx2i.metrics.distances.subsets import clean_fid_subsets, torch_fidelity_subsets
from kdx2i.metrics.extractors.extractor import Extractor, build_extractor
from kdx2i.metrics.images.embedding import Embedding
from kdx2i.metrics.inception_score import score_entry
from kdx2i.metrics.protocols import DIMENSIONS
from kdx2i.metrics.settings import ClassifierSettings
from kdx2i.metrics.threads import single_thread


@dataclass(frozen=True)
class Labelled:
    """Images under one extractor: features float32 (N, d), logits (N, K) or None, class indices int64 (N,)."""

    features: Tensor
    logits: Tensor | None
    labels: Tensor

    @classmethod
    def of(cls, embedding: Embedding, labels: Tensor) -> "Labelled":
        """Return an embedding's rows in memory, with labels (N,)."""
        logits = None if embedding.logits is None else embedding.logits[0 : len(labels)]
        return cls(embedding.features[0 : len(labels)], logits, labels)

    def __len__(self) -> int:
        return self.features.shape[0]

    def where(self, index: Tensor) -> "Labelled":
        """Return the images that an index (M,) selects."""
        logits = None if self.logits is None else self.logits[index]
        return Labelled(self.features[index], logits, self.labels[index])


def half_of(labels: Tensor) -> Tensor:
    """Return the indices, ascending, of every second image of each class, the first of each included."""
    chosen = [torch.nonzero(labels == label).flatten()[::2] for label in torch.unique(labels)]
    return torch.cat(chosen).sort().values if chosen else torch.zeros(0, dtype=torch.int64)


def subset_distance(library: str, generated: Any, real: Any, seed: int) -> float:
    """Return 100 x the mean kernel distance over the 100 subsets that a library draws.

    Both take min(n, m, 1000) images: clean-fid by itself, torch-fidelity when it is told to. clean-fid leaves
    NumPy's generator unseeded; here it has the seed `seed`, and torch-fidelity its own 2020.
    """
    subsets = _subsets(library, len(generated), len(real), seed)
    return 100.0 * float(kernel_distance_subsets(generated, real, *subsets).mean())


@lru_cache(maxsize=64)  # classes have few different counts, and drawing costs as much as the distances
def _subsets(library: str, n: int, m: int, seed: int) -> tuple[Any, Any]:
    if library == "torch-fidelity":
        return torch_fidelity_subsets(n, m, size=min(n, m, 1000))
    return clean_fid_subsets(n, m, seed=seed)


def measure(
    generated: Labelled,
    real: Mapping[str, Labelled],
    classes: int,
    extractor: Extractor,
    *,
    classifier: ClassifierSettings | None,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Yield the measurements of one extractor and resize (`kdx2i.metrics.protocols`).

    `real` maps names of the dimension `real` to the images of that real set; with `train` and `test` among them,
    RC and FC are measured by a linear probe of the settings `classifier` (None: not). Class-wise metrics need
    `classes` > 1. A value that cannot be computed is None with a reason.
    """
    common = {"extractor": extractor.name, "preprocessing": extractor.preprocessing}
    for count in DIMENSIONS["generated"]:
        mine = generated if count == "all" else generated.where(half_of(generated.labels))
        here = {**common, "generated": count}
        if mine.logits is not None:
            for name in DIMENSIONS["is"]:
                yield {"metric": "IS", **here, "is": name, **_score(mine.logits, name, extractor.name)}
        for name, theirs in real.items():
            for entry in _distances(mine, theirs, classes, seed):
                yield {"metric": entry.pop("metric"), **here, "real": name, **entry}
        if classifier is not None and {"train", "test"} <= set(real):
            for metric, pair in (("RC", (real["train"], mine)), ("FC", (mine, real["test"]))):
                yield {"metric": metric, **here, **_accuracy(*pair, classes, classifier)}


def _score(logits: Tensor, name: str, extractor: str) -> dict[str, Any]:
    entry = score_entry(logits, name, extractor)
    return {key: entry[key] for key in ("value", "standard_error", "reason", "n_generated") if key in entry}


def _distances(generated: Labelled, real: Labelled, classes: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the measurements of FID and KID, pooled and class-wise, against one real set.

    The standard error of a mean over random subsets is that of the full set: the noise of the draw comes on top.
    """
    counts = {"n_real": len(real), "n_generated": len(generated)}
    pair = generated.features, real.features
    if min(len(real), len(generated)) < 2:
        few = {"value": None, "reason": "fewer than two images on one side", **counts}
        yield {"metric": "FID", **few}
        yield from ({"metric": "KIDx100", "kid": estimator, **few} for estimator in DIMENSIONS["kid"])
    else:
        with single_thread():
            fid, kid = frechet_estimate(*pair), kernel_estimate(*pair)
            yield {"metric": "FID", "value": fid.value, "standard_error": fid.standard_error, **counts}
            error = None if kid.standard_error is None else 100.0 * kid.standard_error
            for estimator in DIMENSIONS["kid"]:
                full = estimator == "full-set"
                value = 100.0 * kid.value if full else subset_distance(estimator, *pair, seed)
                yield {"metric": "KIDx100", "kid": estimator, "value": value, "standard_error": error, **counts}
    if classes > 1:
        yield from _class_means(generated, real, classes, seed, counts)


def _class_means(
    generated: Labelled, real: Labelled, classes: int, seed: int, counts: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield the measurements of mFID and mKID."""
    found = classwise_distances(generated.features, generated.labels, real.features, real.labels, classes)
    fid, kid = found.mean_frechet(), found.mean_kernel()
    if fid is None or kid is None:
        short = found.frechet.count(None)
        reason = f"{short} of {classes} classes have fewer than two images on one side"
        lacking = {"value": None, "reason": reason, **counts}
        yield {"metric": "mFID", **lacking}
        yield from ({"metric": "mKIDx100", "kid": estimator, **lacking} for estimator in DIMENSIONS["kid"])
        return
    yield {"metric": "mFID", "value": fid.value, "standard_error": fid.standard_error, **counts}
    error = None if kid.standard_error is None else 100.0 * kid.standard_error
    members = list(zip(by_class(generated.labels, classes), by_class(real.labels, classes), strict=True))
    for estimator in DIMENSIONS["kid"]:
        value = 100.0 * kid.value
        if estimator != "full-set":
            with single_thread():
                each = [subset_distance(estimator, generated.features[a], real.features[b], seed) for a, b in members]
            value = math.fsum(each) / classes
        yield {"metric": "mKIDx100", "kid": estimator, "value": value, "standard_error": error, **counts}


def _accuracy(train: Labelled, test: Labelled, classes: int, settings: ClassifierSettings) -> dict[str, Any]:
    """Return the top-1 accuracy in percent of a linear probe, with its binomial standard error."""
    counts = {"n_train": len(train), "n_test": len(test)}
    absent = classes - len(torch.unique(train.labels))
    if absent or not len(test):
        reason = f"{absent} classes have no training image" if absent else "there is no test image"
        return {"value": None, "reason": reason, **counts}
    probe = train_probe(train.features, train.labels, classes, settings.l2, settings.max_iterations)
    right = int((probe.logits(test.features).argmax(1) == test.labels).sum())
    return {
        "value": 100.0 * right / len(test),
        "standard_error": 100.0 * math.sqrt(right * (len(test) - right)) / len(test) ** 1.5,
        **counts,
    }


def registered_extractors(
    own: str,
    *,
    weights_path: Path | None = None,
    input_size: int | None = None,
    device: str | torch.device = "cpu",
) -> tuple[list[Extractor], dict[str, str]]:
    """Return every registered extractor and resize that this machine has, and by extractor why the others have none.

    `weights_path` and `input_size` belong to the extractor called `own`; the others have their defaults.
    """
    found: list[Extractor] = []
    absent: dict[str, str] = {}
    for name in DIMENSIONS["extractor"]:
        options = {"weights_path": weights_path, "input_size": input_size} if name == own else {}
        try:
            for resize in DIMENSIONS["preprocessing"]:
                found.append(build_extractor(name, preprocessing=resize, device=device, **options))  # type: ignore[arg-type]
        except UserError as error:
            absent[name] = str(error)
    return found, absent
