"""Orders and gains: Kendall's tau-b against its definition, gains against plain arithmetic."""

import math
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdx2i.config import TableConfig
from kdx2i.tables.intervals import agreement, mean_interval, prediction_interval
from kdx2i.tables.model import Cell
from kdx2i.tables.orders import gains, orders, paired_gain, relative_gain
from kdx2i.tables.published import CellName, PublishedValue

PAIRS = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), max_size=12)


def brute_tau(first: list[float], second: list[float]) -> float | None:
    """The definition: (C - D) / sqrt((pairs not tied in the first) (pairs not tied in the second))."""
    pairs = list(combinations(range(len(first)), 2))
    signs = [
        ((first[i] > first[j]) - (first[i] < first[j]), (second[i] > second[j]) - (second[i] < second[j]))
        for i, j in pairs
    ]
    free = math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))
    return sum(a * b for a, b in signs) / free if free else None


@given(PAIRS)
def test_tau_b_is_its_definition_and_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    by_column = agreement(first, second)
    assert by_column.concordant + by_column.discordant + by_column.tied == math.comb(len(pairs), 2)
    expected = brute_tau(first, second)
    if expected is None:
        assert by_column.tau is None
        return
    assert by_column.tau == pytest.approx(expected, abs=1e-12)
    assert by_column.tau == pytest.approx(stats.kendalltau(first, second).statistic, abs=1e-12)
    reverse = agreement([-value for value in first], second)
    assert reverse.tau == pytest.approx(-expected, abs=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8), st.randoms())
def test_intervals_hold_the_mean_and_ignore_the_order(values: list[float], rng: Any) -> None:
    interval, wider = mean_interval(values), prediction_interval(values)
    assert interval is not None
    assert wider is not None
    middle = math.fsum(values) / len(values)
    assert wider.low <= interval.low <= middle <= interval.high <= wider.high
    mixed = rng.sample(values, len(values))
    assert mean_interval(mixed) == interval
    assert mean_interval(values[:1]) is None
    assert prediction_interval(values[:1]) is None


def published(config: TableConfig, printed: dict[str, str]) -> dict[CellName, PublishedValue]:
    names = [
        CellName(row.part, dataset, row.label, metric)
        for row in config.rows
        for dataset in config.datasets_of(row.part)
        for metric in config.metrics_of(row.part)
        if row.label in printed
    ]
    return {
        name: PublishedValue("small", name, printed[name.label], "higher" if name.metric == "RC" else "lower")
        for name in names
    }


def test_an_order_counts_the_rows_with_both_numbers(kit: Any, small: TableConfig) -> None:
    values = {"sdit": 30.0, "scratch": 20.0, "kd": 10.0}
    table = kit.table(small, lambda key, seed, metric: values.get(key.architecture, values.get(key.transfer)))
    by_column = {
        (o.part, o.dataset, o.metric): o for o in orders(table, published(small, {"Base": "5", "Ours †": "2"}))
    }
    assert len(by_column) == 2 * 2 + 2
    order = by_column["latent", "birds", "mFID"]
    assert (order.rows, order.tau, order.concordant, order.discordant) == (2, 1.0, 1, 0)
    one = next(iter(orders(table, published(small, {"Base": "5"}))))
    assert (one.rows, one.tau, one.reason) == (1, None, "fewer than two rows have both numbers")
    tied = next(iter(orders(table, published(small, {"Base": "5", "Ours †": "5"}))))
    assert (tied.tau, tied.tied, tied.reason) == (None, 1, "all rows are tied on one side")


@given(st.floats(0.1, 1e3), st.floats(-1e3, 1e3))
def test_a_gain_is_positive_when_better(baseline: float, value: float) -> None:
    lower, higher = relative_gain("mFID", value, baseline), relative_gain("RC", value, baseline)
    assert lower == -(higher if higher is not None else math.nan)
    assert lower == pytest.approx((baseline - value) / baseline)
    assert (lower > 0) == (value < baseline) if lower is not None and value != baseline else True


@pytest.mark.parametrize("baseline", [0.0, -0.4])
def test_no_relative_gain_over_a_baseline_that_is_not_positive(baseline: float) -> None:
    assert relative_gain("KIDx100", 1.0, baseline) is None
    own = Cell(dataset="d", metric="KIDx100", seeds=(0,), values=(1.0,), mean=1.0)
    base = Cell(dataset="d", metric="KIDx100", seeds=(0,), values=(baseline,), mean=baseline)
    by_column = paired_gain(own, base)
    assert by_column.gain is None
    assert "not positive" in by_column.reason


def test_gains_are_paired_by_seed(kit: Any, small: TableConfig) -> None:
    noise = {0: 0.0, 1: 40.0, 2: -25.0}
    gain = {0: 9.0, 1: 10.0, 2: 11.0}

    def value(key: Any, seed: int, metric: str) -> float:
        return 100.0 + noise[seed] - (gain[seed] if key.transfer == "kd" else 0.0)

    table = kit.table(small, value)
    by_column = {(g.part, g.dataset, g.metric): g for g in gains(table, published(small, {"Base": "5", "Ours †": "4"}))}
    assert {g.label for g in by_column.values()} == {"Ours †"}
    assert {g.baseline for g in by_column.values()} == {"Base"}
    own_gain = by_column["reference", "birds", "mFID"]
    assert own_gain.reproduced == pytest.approx(10 / 105)
    assert own_gain.published == pytest.approx(0.2)
    assert own_gain.agrees is True
    assert own_gain.low is not None
    assert 0 < own_gain.low < 10 / 105
    assert by_column["latent", "birds", "RC"].agrees is True
    assert by_column["latent", "birds", "RC"].published == pytest.approx(-0.2)


def test_a_gain_without_both_numbers_says_why(kit: Any, small: TableConfig) -> None:
    table = kit.table(small, lambda key, seed, metric: None if key.transfer == "kd" else 1.0)
    for gain in gains(table, {}):
        assert (gain.published, gain.reproduced, gain.low, gain.agrees) == (None, None, None, None)
        assert "not available" in gain.reason
        assert "does not print both" in gain.reason


def test_only_common_seeds_make_a_gain() -> None:
    own = Cell(dataset="d", metric="mFID", seeds=(0, 1), values=(1.0, 5.0), mean=3.0)
    base = Cell(dataset="d", metric="mFID", seeds=(1, 2), values=(10.0, 99.0), mean=54.5)
    by_column = paired_gain(own, base)
    assert (by_column.gain, by_column.interval, by_column.seeds) == (0.5, None, 1)
