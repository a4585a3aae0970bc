"""The verdict on one reproduced number beside the printed one, with its reason. No outcome is expected here.

Where the conditions are the paper's:

- `reproduced`: the 95% interval of the mean over seeds meets the interval of numbers that round to what is
  printed; with one seed, the value itself lies in it;
- `better` or `worse`: it does not.

Everywhere else the verdict is `not comparable`. A number that is absent is `missing` under any conditions, that of a
row that is no better than its untrained network or blank images `not learned` (`kdx2i.tables.learning`).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from kdx2i.config import Strict
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import prediction_interval
from kdx2i.tables.learning import NOT_LEARNED
from kdx2i.tables.model import Cell, Departure
from kdx2i.tables.published import PublishedValue

VerdictName = Literal["reproduced", "better", "worse", "missing", "not learned", "not comparable"]
Reason = Literal[
    "",
    "seed noise",
    "sample-size bias",
    "protocol",
    "budget",
    "erratum of the paper",
    "really different",
    "absent",
    "no better than untrained or blank",
    "not printed",
]


class Verdict(Strict):
    """A verdict, the first reason that explains it, and a sentence with the numbers behind it."""

    name: VerdictName
    reason: Reason
    detail: str


def judge(
    published: PublishedValue | None,
    cell: Cell,
    departures: Sequence[Departure],
    floor: float | None = None,
) -> Verdict:
    """Return the verdict on `cell`.

    `published` is None where the paper prints no number. `departures` are the ways in which the number was
    not made like the paper's: any of them makes it not comparable. `floor` is the value of real images
    against real images: for metrics that the number of images biases, a difference below it may be nothing
    but other counts, which the paper does not print.
    """
    if cell.mean is None:
        return Verdict(name="missing", reason="absent", detail=cell.reason or "missing")
    if cell.learning is not None and not cell.learned:
        return Verdict(name=NOT_LEARNED, reason="no better than untrained or blank", detail=cell.learning.sentence)
    if published is None:
        return Verdict(name="not comparable", reason="not printed", detail="the paper prints no number here")
    if departures:
        return _not_comparable(published, departures)
    verdict = _position(published, cell)
    if verdict == "reproduced":
        return Verdict(name=verdict, reason="", detail=_met(cell, published))
    return _explained(verdict, published, cell, floor)


def _not_comparable(published: PublishedValue, departures: Sequence[Departure]) -> Verdict:
    """Say why a number cannot be held against the printed one."""
    only_budget = all(item.kind == "budget" for item in departures)
    detail = "; ".join(item.text for item in departures)
    if published.contradicted:
        detail = f"{detail}; {published.note}"
    return Verdict(name="not comparable", reason="budget" if only_budget else "protocol", detail=detail)


def _position(published: PublishedValue, cell: Cell) -> Literal["reproduced", "better", "worse"]:
    """Compare the interval of the mean (or the one value) with the printed interval, exactly."""
    value = cell.mean if cell.mean is not None else 0.0
    low, high = cell.interval or (value, value)
    printed_low, printed_high = published.interval
    if Decimal(low) <= printed_high and Decimal(high) >= printed_low:
        return "reproduced"
    ahead = METRICS[cell.metric].goodness(value) > METRICS[cell.metric].goodness(float(published.value))
    return "better" if ahead else "worse"


def _met(cell: Cell, published: PublishedValue) -> str:
    """Say how a reproduced number met the printed one."""
    if cell.interval is None:
        return f"one seed, no interval: the value rounds to the printed {published.printed}"
    text = METRICS[cell.metric].text
    low, high = cell.interval
    seeds = len(cell.seeds)
    return f"the interval {text(low)} to {text(high)} over {seeds} seeds meets the printed {published.printed}"


def _explained(name: Literal["better", "worse"], published: PublishedValue, cell: Cell, floor: float | None) -> Verdict:
    """Find the first reason that explains a difference under the paper's own conditions."""
    quantity = METRICS[cell.metric]
    distance = abs((cell.mean or 0.0) - float(published.value))
    if published.contradicted:
        return Verdict(name=name, reason="erratum of the paper", detail=published.note)
    predicted = prediction_interval(cell.values)
    if predicted is None:
        detail = "one seed, no interval: the noise of the seeds is not known, so nothing is claimed"
        return Verdict(name=name, reason="seed noise", detail=detail)
    printed_low, printed_high = published.interval
    if Decimal(predicted.low) <= printed_high and Decimal(predicted.high) >= printed_low:
        low, high = quantity.text(predicted.low), quantity.text(predicted.high)
        detail = f"one more run, with another seed, falls between {low} and {high} (95%), and so does the printed one"
        return Verdict(name=name, reason="seed noise", detail=detail)
    if quantity.biased and floor is not None and distance <= abs(floor):
        detail = (
            f"{distance:.3g} away, and real against real is {quantity.text(floor)} at these counts, "
            "which the paper does not print"
        )
        return Verdict(name=name, reason="sample-size bias", detail=detail)
    return Verdict(name=name, reason="really different", detail=f"{distance:.3g} away from {published.printed}")
