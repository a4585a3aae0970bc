"""The same images under every registered protocol: one measurement for each alternative that a metric depends on.

One set of features serves all real sets, counts and estimators: they are selections of the same rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.classifier import wilson_interval
from kdx2i.metrics.embedding import Embedding
from kdx2i.metrics.features import Extractor, build_extractor
from kdx2i.metrics.frechet import frechet_distance
from kdx2i.metrics.inception_score import score_entry
from kdx2i.metrics.kernel import kernel_distance_subsets, kernel_estimate, standard_error
from kdx2i.metrics.probe import train_probe
from kdx2i.metrics.protocols import DIMENSIONS
from kdx2i.metrics.settings import ClassifierSettings
from kdx2i.metrics.threads import single_thread

SUBSETS, SUBSET_SIZE = 100, 1000
TORCH_FIDELITY_SEED = 2020


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


def library_subsets(library: str, generated: int, real: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the 100 subsets of generated and of real images that a library draws for KID, each int64 (100, m).

    m = min(generated, real, 1000); torch-fidelity refuses fewer than 1000 images unless it is told a smaller
    size, clean-fid takes what there is. torch-fidelity 0.4.0 (metric_kid.py): `RandomState(2020)`, generated
    images first. clean-fid 0.1.35 (fid.py): numpy's global generator, which it leaves unseeded and which has the
    seed `seed` here, real images first when the generated ones are its first argument.
    """
    size = min(generated, real, SUBSET_SIZE)
    first = library == "torch-fidelity"
    random = np.random.RandomState(TORCH_FIDELITY_SEED if first else seed)
    counts = (generated, real) if first else (real, generated)
    draws = [[random.choice(count, size, replace=False) for count in counts] for _ in range(SUBSETS)]
    pairs = torch.from_numpy(np.array(draws)).transpose(0, 1)
    return (pairs[0], pairs[1]) if first else (pairs[1], pairs[0])


def kid_under(estimator: str, generated: Tensor, real: Tensor, seed: int) -> tuple[float, float | None]:
    """Return 100 x the kernel distance of features (n, d) and (m, d) under an estimator, and its standard error.

    Of the random subsets the standard error is the full set's: their own noise comes on top.
    """
    full = kernel_estimate(generated, real)
    error = None if full.standard_error is None else 100.0 * full.standard_error
    if estimator == "full-set":
        return 100.0 * full.value, error
    subsets = library_subsets(estimator, len(generated), len(real), seed)
    return 100.0 * float(kernel_distance_subsets(generated, real, *subsets).mean()), error


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
    """Yield the measurements of FID and KID, pooled and class-wise, against one real set."""
    counts = {"n_real": len(real), "n_generated": len(generated)}
    enough = min(len(real), len(generated)) >= 2
    few = {"value": None, "reason": "fewer than two images on one side", **counts}
    with single_thread():
        fid = {"value": frechet_distance(generated.features, real.features), "standard_error": None, **counts}
        yield {"metric": "FID", **(fid if enough else few)}
        for estimator in DIMENSIONS["kid"]:
            value, error = kid_under(estimator, generated.features, real.features, seed)
            pooled = {"value": value, "standard_error": error, **counts}
            yield {"metric": "KIDx100", "kid": estimator, **(pooled if enough else few)}
        if classes > 1:
            pairs = [
                (generated.features[generated.labels == label], real.features[real.labels == label])
                for label in range(classes)
            ]
            short = sum(min(len(a), len(b)) < 2 for a, b in pairs)
            reason = f"{short} of {classes} classes have fewer than two images on one side"
            lacking = {"value": None, "reason": reason, **counts}
            each = [] if short else [frechet_distance(a, b) for a, b in pairs]
            yield {"metric": "mFID", **(lacking if short else {**_mean(each), **counts})}
            for estimator in DIMENSIONS["kid"]:
                each = [] if short else [kid_under(estimator, a, b, seed)[0] for a, b in pairs]
                yield {"metric": "mKIDx100", "kid": estimator, **(lacking if short else {**_mean(each), **counts})}


def _mean(values: list[float]) -> dict[str, Any]:
    return {"value": sum(values) / len(values), "standard_error": standard_error(values)}


def _accuracy(train: Labelled, test: Labelled, classes: int, settings: ClassifierSettings) -> dict[str, Any]:
    """Return the top-1 accuracy in percent of a linear probe, with its binomial standard error."""
    counts = {"n_train": len(train), "n_test": len(test)}
    absent = classes - len(torch.unique(train.labels))
    if absent or not len(test):
        reason = f"{absent} classes have no training image" if absent else "there is no test image"
        return {"value": None, "reason": reason, **counts}
    probe = train_probe(train.features, train.labels, classes, settings.l2, settings.max_iterations)
    right = int((probe.logits(test.features).argmax(1) == test.labels).sum())
    low, high = wilson_interval(right, len(test))
    return {"value": 100.0 * right / len(test), "standard_error": (high - low) / (2 * 1.959963984540054), **counts}


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
