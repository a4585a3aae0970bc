"""The same images under every registered protocol: one measurement for each alternative that a metric depends on.

One set of features serves all real sets, counts and estimators: they are selections of the same rows.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.extractors.extractor import Extractor, build_extractor
from kdx2i.metrics.protocols import DIMENSIONS, FEATURES, alternatives
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import RealPart
from kdx2i.metrics.trial import Trial

_OWN: tuple[str, ...] = ("real", "kid", "fid", "is")  # dimensions that some metrics have and others lack
_KEPT = ("value", "standard_error", "reason", "n_real", "n_generated", "n_train", "n_test")


def half_of(labels: Tensor) -> Tensor:
    """Return the ascending indices int64 (M,) of every second image of each class, the first included; labels (N,)."""
    chosen = [torch.nonzero(labels == label).flatten()[::2] for label in torch.unique(labels)]
    return torch.cat(chosen).sort().values if chosen else torch.zeros(0, dtype=torch.int64)


def measure(
    scorer: Scorer, generated: EmbeddedSet, metrics: Sequence[str], real_sets: Sequence[RealPart]
) -> Iterator[dict[str, Any]]:
    """Yield the measurements of metrics under the network and preprocessing of a scorer (`kdx2i.metrics.protocols`).

    A metric is measured under each combination of the alternatives that its entry in the catalogue names; of the
    dimension `real` only `real_sets`. A value that cannot be computed is None with a reason.
    """
    extractor = {"extractor": scorer.extractor.name, "preprocessing": scorer.extractor.preprocessing}
    scorers = {name: scorer.with_real_set(name) for name in real_sets}
    known = {**alternatives(scorer.extractor.name, scorer.extractor.preprocessing), "real": tuple(real_sets)}
    for count in DIMENSIONS["generated"]:
        images = generated if count == "all" else generated.where(half_of(generated.labels))
        trials: dict[str, Trial] = {name: scorer.trial(images) for name, scorer in scorers.items()}
        alone = scorer.trial(images)
        for metric in metrics:
            names = [name for name in _OWN if name in METRICS[metric].depends]
            for values in itertools.product(*(known[name] for name in names)):
                choices = dict(zip(names, values, strict=True))
                trial = trials[choices["real"]] if "real" in choices else alone
                entry = scorer.entry(trial.under(choices), metric)
                kept = {key: entry[key] for key in _KEPT if key in entry}
                yield {"metric": metric, **extractor, "generated": count, **choices, **kept}


def registered_extractors(
    own: str,
    *,
    weights_path: Path | None = None,
    input_size: int | None = None,
    image_size: int | None = None,
    device: str | torch.device = "cpu",
) -> tuple[list[Extractor], dict[str, str]]:
    """Return every registered network and preprocessing that this machine has, and why the other networks have none.

    `weights_path` and `input_size` belong to the extractor called `own`; the others have their defaults. `image_size`
    is the side of the generated images, for the preprocessing that brings all images to it.
    """
    extractors: list[Extractor] = []
    absent: dict[str, str] = {}
    for name, preprocessing in FEATURES:
        if name in absent:
            continue
        try:
            extractor = build_extractor(
                name,
                weights_path=weights_path if name == own else None,
                input_size=input_size if name == own else None,
                preprocessing=preprocessing,
                image_size=image_size,
                device=device,
            )
        except UserError as error:
            absent[name] = str(error)
        else:
            extractors.append(extractor)
    return extractors, absent
