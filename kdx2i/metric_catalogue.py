"""The catalogue of metrics: all that tables, command lines, scorers and screens know of one stands in its entry.

A new metric is an entry here and the function that its `compute` names. Torch-free, and below every room that spells
a metric: the configuration checks names against it, the plan asks what a metric needs, the scorer runs `compute`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Direction = Literal["higher", "lower"]


class Need(Enum):
    """What must be there for a metric to be computed, beside generated and real images."""

    TWO_IMAGES = "two images on each side"
    CLASSES = "the same two or more classes on both sides"
    TWO_IMAGES_A_CLASS = "two images of each class on both sides"
    LOGITS = "a feature network that is a classifier"
    PARTS = "as many generated images as the Inception Score has parts"
    CLASSIFIER = "a classifier trained on the images"
    OUTPUTS = "several outputs of each source"
    LABEL_MAPS = "label maps and a segmenter"
    ENCODER = "the conditions of the images and an encoder of them"


@dataclass(frozen=True)
class Metric:
    """One metric.

    `name` stands in tables, YAML files and `metrics.json`, `word` on command lines (None: tables or a switch ask for
    it), `title` in headings, with `digits` after the point. `direction` says which values are better.

    `compute` is `module:function`; the function takes a `kdx2i.metrics.trial.Trial` and returns an entry of
    `metrics.json`. `needs` decides where the metric can be computed, `depends` on which alternatives of the registered
    protocols (`kdx2i.metrics.protocols`) its value depends. A run's evaluation computes what is `always` computed and
    what a table asks for, unless the evaluation setting that `switch` names is off. `optional`: not even an evaluation
    that no table has computes it unasked.

    `biased`: its expectation depends on the number of images (Chong and Forsyth 2020), so that counts alone can move
    it. `logarithmic`: its values differ by factors, and are compared as logarithms.
    """

    name: str
    word: str | None
    title: str
    direction: Direction
    digits: int
    compute: str
    needs: frozenset[Need] = frozenset()
    depends: tuple[str, ...] = ()
    switch: str | None = None
    always: bool = False
    optional: bool = False
    biased: bool = False
    logarithmic: bool = False

    @property
    def arrow(self) -> str:
        """The arrow of a heading: up where higher is better."""
        return "↑" if self.direction == "higher" else "↓"

    @property
    def heading(self) -> str:
        """The heading of the metric's column."""
        return f"{self.title} {self.arrow}"

    @property
    def module(self) -> str:
        """The module of the function that computes it."""
        return self.compute.partition(":")[0]

    def text(self, value: float) -> str:
        """Write a value with the metric's digits; a value that rounds to zero has no sign."""
        written = f"{value:.{self.digits}f}"
        return written.lstrip("-") if float(written) == 0 else written

    def goodness(self, value: float) -> float:
        """Return the value with the sign that makes larger better."""
        return value if self.direction == "higher" else -value


_FEATURES = ("extractor", "preprocessing")
_PAIRS = frozenset({Need.TWO_IMAGES})
_CLASS_PAIRS = frozenset({Need.CLASSES, Need.TWO_IMAGES_A_CLASS})
_ACCURACY = frozenset({Need.CLASSES, Need.CLASSIFIER})
_DISTANCES = "kdx2i.metrics.distances.measures"
_ACCURACIES = "kdx2i.metrics.classifiers.measures"
_MANIFOLD = "kdx2i.metrics.distances.manifold_measures"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "FID", "fid", "FID", "lower", 2, f"{_DISTANCES}:fid", _PAIRS,
            depends=(*_FEATURES, "real", "generated", "fid"), always=True, biased=True, logarithmic=True,
        ),
        Metric(
            "FIDinf", None, "FID∞", "lower", 2, f"{_DISTANCES}:fid_infinity", _PAIRS, switch="infinity", always=True,
        ),
        Metric(
            "KIDx100", "kid", "KID×100", "lower", 2, f"{_DISTANCES}:kid", _PAIRS,
            depends=(*_FEATURES, "real", "generated", "kid"), always=True,
        ),
        Metric(
            "IS", "is", "IS", "higher", 2, "kdx2i.metrics.inception.measures:inception_score",
            frozenset({Need.LOGITS, Need.PARTS}), depends=(*_FEATURES, "generated", "is"), switch="inception_score",
            biased=True, logarithmic=True,
        ),
        Metric(
            "mFID", "mfid", "mFID", "lower", 1, f"{_DISTANCES}:mean_fid", _CLASS_PAIRS,
            depends=(*_FEATURES, "real", "generated", "fid"), always=True, biased=True, logarithmic=True,
        ),
        Metric(
            "mKIDx100", "mkid", "mKID×100", "lower", 2, f"{_DISTANCES}:mean_kid", _CLASS_PAIRS,
            depends=(*_FEATURES, "real", "generated", "kid"), always=True,
        ),
        Metric(
            "RC", "rc", "RC %", "higher", 1, f"{_ACCURACIES}:real_accuracy", _ACCURACY,
            depends=(*_FEATURES, "generated"),
        ),
        Metric(
            "FC", "fc", "FC %", "higher", 1, f"{_ACCURACIES}:fake_accuracy", _ACCURACY,
            depends=(*_FEATURES, "generated"),
        ),
        Metric(
            "LPIPS", "lpips", "LPIPS", "higher", 3, "kdx2i.metrics.perceptual.measures:outputs_diversity",
            frozenset({Need.OUTPUTS}), switch="diversity",
        ),
        Metric(
            "mIoU", "miou", "mIoU %", "higher", 1, "kdx2i.metrics.segmentation.measures:mean_iou",
            frozenset({Need.LABEL_MAPS}),
        ),
        Metric(
            "R-precision", None, "R-precision %", "higher", 1, "kdx2i.metrics.r_precision:r_precision",
            frozenset({Need.ENCODER}),
        ),
        Metric("Precision", "precision", "Precision", "higher", 3, f"{_MANIFOLD}:precision", _PAIRS, optional=True),
        Metric("Recall", "recall", "Recall", "higher", 3, f"{_MANIFOLD}:recall", _PAIRS, optional=True),
    )
}  # fmt: skip


MAIN_DISTANCES = {"kernel": ("mKIDx100", "KIDx100"), "frechet": ("mFID", "FID")}
"""By the reading of protocol entry learned-or-not: the distances that judge whether a network learned, best first."""


def main_distance(metrics: Collection[str], reading: str = "kernel") -> str | None:
    """Return the metric that judges whether a network learned: by class where there is one, else pooled; None without.

    `metrics` are those of its evaluation, `reading` is a key of `MAIN_DISTANCES`.
    """
    return next((name for name in MAIN_DISTANCES[reading] if name in metrics), None)


def check_metric(name: str) -> str:
    """Return the name of a metric of the catalogue; `ValueError` with the known ones for another name."""
    if name not in METRICS:
        raise ValueError(f"the metric `{name}` is unknown; there are {', '.join(METRICS)}")
    return name
