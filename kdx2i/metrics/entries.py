"""The entries of metrics.json: a value with counts and uncertainty, or null with a reason, never NaN."""

from typing import Any

from kdx2i.metrics.distances.estimates import Estimate

Entry = dict[str, Any]


def missing(reason: str, n_real: int, n_generated: int, classes: int) -> Entry:
    """Return the entry of a metric that could not be computed."""
    return {
        "value": None,
        "reason": reason,
        "n_real": n_real,
        "n_generated": n_generated,
        "classes": classes,
    }


def estimate_entry(estimate: Estimate, n_real: int, n_generated: int, classes: int, *, scale: float = 1.0) -> Entry:
    """Return the entry of a value with its standard error and 95 % interval, all multiplied by `scale`."""
    low, high = scaled(estimate.low, scale), scaled(estimate.high, scale)
    return {
        "value": estimate.value * scale,
        "standard_error": scaled(estimate.standard_error, scale),
        "interval": None if low is None else [low, high],
        "n_real": n_real,
        "n_generated": n_generated,
        "classes": classes,
    }


def scaled(number: float | None, scale: float) -> float | None:
    """Return a number times `scale`, None for None."""
    return None if number is None else number * scale
