"""Verdicts: what may be called reproduced, better or worse, and with which reason."""

import math
from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdx2i.tables.intervals import mean, mean_interval, prediction_interval
from kdx2i.tables.model import Cell, Departure
from kdx2i.tables.published import CellName, PublishedValue
from kdx2i.tables.verdict import judge

STAND_IN = Departure(kind="dataset", text="open-birds stands in for birds")
SHORT = Departure(kind="budget", text="stage 2: 200 of the paper's 100,000 iterations")
PRINTED = st.decimals(min_value=-500, max_value=500, places=2).map(str)
VALUES = st.lists(st.floats(-500, 500), min_size=1, max_size=5)
MIRROR = {"better": "worse", "worse": "better"}


def printed(value: str, metric: str = "mFID", note: str = "") -> PublishedValue:
    direction: Literal["higher", "lower"] = "higher" if metric == "RC" else "lower"
    return PublishedValue("t", CellName("p", "d", "l", metric), value, direction, None, note)


def cell(values: list[float], metric: str = "mFID") -> Cell:
    interval = mean_interval(values)
    return Cell(
        dataset="d",
        metric=metric,
        seeds=tuple(range(len(values))),
        values=tuple(values),
        mean=mean(values) if values else None,
        interval=(interval.low, interval.high) if interval else None,
        absent=() if values else ("stale",),
    )


@given(VALUES, PRINTED)
def test_one_of_three_verdicts_under_the_papers_conditions(values: list[float], text: str) -> None:
    verdict = judge(printed(text), cell(values), ())
    assert verdict.name in ("reproduced", "better", "worse")
    low, high = (cell(values).interval or (values[0], values[0])) if len(values) > 1 else (values[0], values[0])
    first, last = printed(text).interval
    assert (verdict.name == "reproduced") == (Decimal(low) <= last and Decimal(high) >= first)
    assert (verdict.reason == "") == (verdict.name == "reproduced")


@given(PRINTED, st.integers(1, 5))
def test_the_printed_value_itself_is_reproduced(text: str, seeds: int) -> None:
    value = float(Decimal(text))
    assert judge(printed(text), cell([value] * seeds), ()).name == "reproduced"


@given(VALUES, PRINTED)
def test_the_direction_of_a_metric_only_mirrors_the_verdict(values: list[float], text: str) -> None:
    lower = judge(printed(text), cell(values), ()).name
    higher = judge(printed(text, "RC"), cell(values, "RC"), ()).name
    assert higher == MIRROR.get(lower, lower)
    negated = str(-Decimal(text))
    both = judge(printed(negated, "RC"), cell([-value for value in values], "RC"), ()).name
    assert both == lower


@given(st.floats(-500, 500), PRINTED)
def test_with_one_seed_nothing_is_claimed(value: float, text: str) -> None:
    verdict = judge(printed(text), cell([value]), (), floor=1e9)
    assert verdict.reason in ("", "seed noise")
    assert verdict.detail.startswith("one seed, no interval")


@given(st.lists(st.sampled_from([STAND_IN, SHORT]), min_size=1), VALUES, PRINTED)
def test_any_departure_makes_a_number_not_comparable(
    departures: list[Departure], values: list[float], text: str
) -> None:
    verdict = judge(printed(text), cell(values), departures)
    assert verdict.name == "not comparable"
    assert verdict.reason == ("protocol" if STAND_IN in departures else "budget")
    assert all(item.text in verdict.detail for item in departures)


@pytest.mark.parametrize("departures", [(), (STAND_IN,)])
def test_an_absent_number_is_missing_under_any_conditions(departures: tuple[Departure, ...]) -> None:
    for published in (printed("96.2"), None):
        verdict = judge(published, cell([]), departures)
        assert (verdict.name, verdict.detail) == ("missing", "stale")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_never_reaches_a_cell(value: float) -> None:
    with pytest.raises(ValidationError):
        Cell(dataset="d", metric="mFID", seeds=(0,), values=(value,), mean=1.0)
    with pytest.raises(ValidationError):
        Cell(dataset="d", metric="mFID", mean=value)


def test_a_number_that_the_paper_does_not_print_cannot_be_compared() -> None:
    verdict = judge(None, cell([96.2, 96.2]), ())
    assert (verdict.name, verdict.reason) == ("not comparable", "not printed")


def test_a_contradicted_number_explains_a_difference_first() -> None:
    note = "contradiction: Table 7 prints 2.46"
    verdict = judge(printed("3.46", note=note), cell([9.0, 9.0, 9.0]), (), floor=100.0)
    assert (verdict.name, verdict.reason, verdict.detail) == ("worse", "erratum of the paper", note)
    assert judge(printed("3.46", note=note), cell([3.46, 3.46]), ()).name == "reproduced"
    assert note in judge(printed("3.46", note=note), cell([9.0]), (SHORT,)).detail


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), PRINTED)
def test_seed_noise_is_what_one_more_run_could_give(values: list[float], text: str) -> None:
    verdict = judge(printed(text), cell(values), ())
    assume(verdict.name != "reproduced")
    predicted = prediction_interval(values)
    assert predicted is not None
    first, last = printed(text).interval
    inside = Decimal(predicted.low) <= last and Decimal(predicted.high) >= first
    assert (verdict.reason == "seed noise") == inside


def test_reasons_of_a_clear_difference() -> None:
    values = [120.0, 120.1, 119.9]
    assert judge(printed("96.2"), cell(values), (), floor=50.0).reason == "sample-size bias"
    assert judge(printed("96.2"), cell(values), (), floor=5.0).reason == "really different"
    assert judge(printed("96.2"), cell(values), ()).reason == "really different"
    # KID and accuracies have no bias by the number of images.
    assert judge(printed("9.01", "KIDx100"), cell(values, "KIDx100"), (), floor=500.0).reason == "really different"
