"""Did a row learn? Its main distance beside those of its own untrained network and of blank images.

The main distance is the class-wise kernel distance where an evaluation has one, else the pooled one (protocol entry
learned-or-not, `kdx2i.metric_catalogue.main_distance`); the evaluation scores the untrained network by it, for the same
requests and noise. A row has learned on a dataset when the mean over its seeds beats both: that of its untrained
networks, and the control row of blank images where there is one. What has not learned is shown, marked, and takes no
part in orders, gains, expectations and claims.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from kdx2i.config import Strict
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import mean

BLANK = "blank"
"""The name of the control of blank images, among those of a controls' metrics.json."""
NOT_LEARNED: Literal["not learned"] = "not learned"
_LARGEST = 1e100

Finite = Annotated[float, Field(allow_inf_nan=False)]
Entries = Mapping[str, Mapping[str, Any]]


class Learning(Strict):
    """The means over seeds of the main distance `metric`: trained, untrained, and that of blank images (None: none).

    `learned`: the trained score beats both others.
    """

    metric: str
    trained: Finite
    untrained: Finite
    blank: Finite | None = None
    learned: bool

    @property
    def sentence(self) -> str:
        """The scores in words, e.g. `mKID×100 263.07; untrained 236.10, blank images 150.22`."""
        quantity = METRICS[self.metric]
        text = f"{quantity.title} {quantity.text(self.trained)}; untrained {quantity.text(self.untrained)}"
        return text if self.blank is None else f"{text}, blank images {quantity.text(self.blank)}"


def judge_learning(evaluations: Iterable[tuple[Entries, Entries]], blank: Entries | None) -> Learning | None:
    """Return how the evaluations of one row on one dataset stand to their untrained networks; None where not known.

    `evaluations` are (values, untrained) a seed, each {metric: entry}; `blank` are the entries of blank images. Seeds
    without both numbers, such as those of results that have no untrained score, take no part.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for values, untrained in evaluations:
        for metric in untrained:
            trained, start = _number(values, metric), _number(untrained, metric)
            if metric in METRICS and trained is not None and start is not None:
                pairs.setdefault(metric, []).append((trained, start))
    if len(pairs) != 1:
        return None
    ((metric, numbers),) = pairs.items()
    good = METRICS[metric].goodness
    end, beginning = mean([trained for trained, _ in numbers]), mean([start for _, start in numbers])
    of_blank = None if blank is None else _number(blank, metric)
    others = [beginning] if of_blank is None else [beginning, of_blank]
    learned = all(good(end) > good(other) for other in others)
    return Learning(metric=metric, trained=end, untrained=beginning, blank=of_blank, learned=learned)


def _number(entries: Entries, metric: str) -> float | None:
    """Return the value of an entry, None where it has no finite one."""
    value = entries.get(metric, {}).get("value")
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
    return float(value) if number and value is not None else None
