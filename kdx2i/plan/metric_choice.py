"""Which metrics of the catalogue an evaluation computes: what a table asks for and what every evaluation has."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kdx2i.metric_catalogue import METRICS, Metric, Need

# Translations to one class are one set: they have no classes, and several outputs of a source are not asked for.
_NOT_DIRECTED = frozenset({Need.CLASSES, Need.OUTPUTS})


def evaluation_metrics(
    allowed: Collection[str], asked: Collection[str] | None, settings: Mapping[str, Any], *, directed: bool
) -> list[str]:
    """Return the names of the metrics of an evaluation, those by class first.

    `allowed` are the metrics that the task allows, `asked` those that tables ask for on the dataset, None where no
    table has it: then all are computed that are not optional. A metric whose switch is off in the evaluation `settings`
    is not.
    """
    names = [name for name in allowed if _computed(METRICS[name], asked, settings, directed)]
    return sorted(names, key=lambda name: Need.TWO_IMAGES_A_CLASS not in METRICS[name].needs)


def _computed(metric: Metric, asked: Collection[str] | None, settings: Mapping[str, Any], directed: bool) -> bool:
    """Tell whether an evaluation computes a metric."""
    if directed and metric.needs & _NOT_DIRECTED:
        return False
    if metric.switch is not None and not settings[metric.switch]:
        return False
    return metric.always or (not metric.optional if asked is None else metric.name in asked)


def idle_switches(metrics: Collection[str]) -> set[str]:
    """Return the keys of evaluation settings that switch on nothing but metrics that are not among these."""
    return {metric.switch for metric in METRICS.values() if metric.switch and metric.name not in metrics}


def needs(metrics: Iterable[str], need: Need) -> bool:
    """Tell whether one of the metrics needs something."""
    return any(need in METRICS[name].needs for name in metrics)


def modules_of(metrics: Iterable[str]) -> tuple[str, ...]:
    """Return the modules that compute metrics, each once: what a result's code hash starts from."""
    return tuple(sorted({METRICS[name].module for name in metrics}))


def computed_by(metrics: Iterable[str]) -> dict[str, str]:
    """Return the function that computes each metric, by name, for the spec of a result."""
    return {name: METRICS[name].compute for name in metrics}
