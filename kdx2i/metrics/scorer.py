"""The scorer: real images, embedded once, and any metrics of the catalogue of generated images against them.

Runs (images in memory), folders (images streamed from files) and the comparison of protocols all ask it. It knows no
metric by name: each is an entry of `kdx2i.metric_catalogue` whose function gets a `Trial`.
"""

import importlib
from collections.abc import Callable, Iterable
from functools import cache

from kdx2i.metric_catalogue import METRICS, Metric, Need
from kdx2i.metrics.distances.classwise import Classwise
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.trial import Distances, RealSide, Trial


class Scorer(RealSide):
    """One real set, embedded once, and everything that scores generated images against it."""

    def score(self, generated: EmbeddedSet, metrics: Iterable[str]) -> dict[str, Entry]:
        """Return {metric: entry} of generated images for metrics of the catalogue, in the given order.

        An entry is a value with its counts and uncertainty, or None with a reason; never NaN. What the settings or
        images make impossible by mistake raises `UserError`.
        """
        trial = self.trial(generated)
        return {name: self.entry(trial, name) for name in metrics}

    def trial(self, generated: EmbeddedSet, by_class: Classwise | None = None) -> Trial:
        """Return a trial of generated images; `by_class` are their class-wise distances where they are known."""
        choices = {"fid": "exact", "kid": "full-set"}
        if self.settings.inception_score is not None:
            choices["is"] = self.settings.inception_score
        return Trial(self, generated, Distances(generated, self, by_class), choices)

    def entry(self, trial: Trial, name: str) -> Entry:
        """Return the entry of one metric of a trial, with value None and a reason where it lacks something."""
        metric = METRICS[name]
        return _lacking(trial, metric) or _function(metric.compute)(trial)


def _lacking(trial: Trial, metric: Metric) -> Entry | None:
    """Return the entry of a metric whose needs are not met, None where they are."""
    generated, real = trial.generated, trial.real
    if Need.TWO_IMAGES in metric.needs and min(len(generated), len(real.pooled_real)) < 2:
        return trial.missing("pooled metrics need 2 generated and 2 real images")
    if Need.LOGITS in metric.needs and generated.logits is None:
        return trial.missing(f"{real.extractor.name} has no logits", n_real=0)
    if Need.OUTPUTS in metric.needs and (generated.outputs is None or real.settings.diversity is None):
        return trial.missing("there are not several outputs of any source")
    if Need.LABEL_MAPS in metric.needs and (generated.label_maps is None or real.segmenter is None):
        return trial.missing("there are no label maps, or no segmenter")
    if Need.ENCODER in metric.needs and (generated.conditions is None or real.matcher is None):
        return trial.missing("there are no conditions, or no encoder of them")
    return None


@cache
def _function(address: str) -> Callable[[Trial], Entry]:
    """Return the function of `module:function`."""
    module, _, name = address.partition(":")
    function: Callable[[Trial], Entry] = getattr(importlib.import_module(module), name)
    return function
