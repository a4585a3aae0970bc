"""Protocol inference: a known protocol is found again, and what cannot be told is said."""

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.inference import Inference, Observed, infer
from kdx2i.tables.published import CellName, Published, PublishedValue

PROTOCOLS = ("a/clean", "a/tf1", "b/clean", "b/tf1")
COLUMNS = ("mFID", "mKIDx100", "RC")


def printed(cell: CellName, number: float, digits: int = 1) -> PublishedValue:
    return PublishedValue("t", cell, str(Decimal(f"{number:.{digits}f}")), METRICS[cell.metric].direction)


def synthetic(
    seed: int, truth: int, *, rows: int = 11, noise: float = 0.04, protocols: int = 4, metrics: Sequence[str] = COLUMNS
) -> tuple[dict[str, dict[CellName, Observed]], Published]:
    """Runs whose printed numbers were made under protocol `truth`: each protocol is a factor of 1.3, or an offset."""
    rng = np.random.default_rng(seed)
    observed: dict[str, dict[CellName, Observed]] = {name: {} for name in PROTOCOLS[:protocols]}
    published = {}
    for row in range(rows):
        for metric in metrics:
            cell = CellName("latent", "birds", f"row {row}", metric)
            base = float(rng.uniform(60, 250) if metric == "mFID" else rng.uniform(5, 30))
            values = [base * 1.3**p if metric == "mFID" else base + 4.0 * p for p in range(protocols)]
            for name, value in zip(observed, values, strict=True):
                observed[name][cell] = Observed((value,), None)
            disturbed = values[truth] * math.exp(noise * rng.standard_normal())
            published[cell] = printed(cell, disturbed)
    return observed, published


def summary(inference: Inference) -> list[tuple[str, float, float]]:
    return [(fit.protocol, fit.log_ratio, fit.share) for fit in inference.ranking]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3), st.integers(8, 14))
def test_the_protocol_that_made_a_table_is_found(seed: int, truth: int, rows: int) -> None:
    inference = infer("t", *synthetic(seed, truth, rows=rows))
    assert inference.ranking[0].protocol == PROTOCOLS[truth]
    assert inference.verdict == "clear"
    assert inference.cells == 3 * rows
    assert inference.evaluations == rows


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_the_order_of_protocols_and_cells_plays_no_part(seed: int, random: object) -> None:
    observed, published = synthetic(seed, 1, noise=0.2)

    def shuffled(mapping):
        items = list(mapping.items())
        random.shuffle(items)  # type: ignore[attr-defined]
        return dict(items)

    other = shuffled({name: shuffled(cells) for name, cells in observed.items()})
    assert infer("t", other, shuffled(published)) == infer("t", observed, published)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sets(st.integers(0, 32), max_size=3))
def test_missing_cells_are_tolerated(seed: int, absent: set[int]) -> None:
    observed, published = synthetic(seed, 2)
    cells = sorted(published)
    for number in absent:
        del observed[PROTOCOLS[number % 4]][cells[number]]
    inference = infer("t", observed, published)
    assert inference.cells == 33 - len(absent)
    assert inference.ranking[0].protocol == PROTOCOLS[2]


def test_a_metric_in_other_units_changes_nothing() -> None:
    observed, published = synthetic(3, 0, metrics=("mKIDx100",), noise=0.1)
    scaled = {
        name: {cell: Observed(tuple(10 * v for v in o.values)) for cell, o in cells.items()}
        for name, cells in observed.items()
    }
    tenfold = {cell: printed(cell, 10 * float(value.value), 0) for cell, value in published.items()}
    first, second = infer("t", observed, published), infer("t", scaled, tenfold)
    for (name, ratio, share), (other, other_ratio, other_share) in zip(summary(first), summary(second), strict=True):
        assert name == other
        assert ratio == pytest.approx(other_ratio, abs=1e-6)
        assert share == other_share


def test_one_metric_does_not_drown_another() -> None:
    """KID alone points at one protocol, FID at none: its large numbers must not hide that."""
    observed, published = synthetic(5, 1, metrics=("mFID", "mKIDx100"))
    for cell in published:
        if cell.metric == "mFID":
            for name in observed:
                observed[name][cell] = observed[PROTOCOLS[3]][cell]
    assert infer("t", observed, published).ranking[0].protocol == PROTOCOLS[1]


def test_one_protocol_leaves_nothing_to_choose() -> None:
    inference = infer("t", *synthetic(0, 0, protocols=1))
    assert inference.verdict == "nothing to choose"
    assert inference.sentence == "only a/clean has numbers: there is nothing to choose between"
    assert inference.log_ratio is None
    assert inference.share is None


def test_equal_protocols_share_their_place() -> None:
    observed, published = synthetic(1, 1)
    observed["a/tf1/half"] = dict(observed["a/tf1"])
    inference = infer("t", observed, published)
    assert [fit.protocol for fit in inference.ranking[:2]] == ["a/tf1", "a/tf1/half"]
    assert inference.ranking[0].same_as == ("a/tf1/half",)
    assert inference.verdict == "clear"
    assert "(or a/tf1/half: the same numbers)" in inference.sentence
    alone = infer("t", {name: observed[name] for name in ("a/tf1", "a/tf1/half")}, published)
    assert alone.verdict == "nothing to choose"
    assert "nothing tells them apart" in alone.sentence


def test_protocols_that_fit_alike_cannot_be_told_apart() -> None:
    observed, published = synthetic(4, 0, protocols=2)
    # The second protocol is as far above the printed numbers as the first is below them.
    for number, (cell, value) in enumerate(sorted(published.items())):
        away = 1.2 if number % 2 else 1 / 1.2
        observed["a/clean"][cell] = Observed((float(value.value) * away,))
        observed["a/tf1"][cell] = Observed((float(value.value) / away,))
    inference = infer("t", observed, published)
    assert inference.verdict == "cannot tell"
    assert inference.sentence.startswith("cannot tell: ")


def test_two_evaluations_decide_nothing() -> None:
    inference = infer("t", *synthetic(2, 0, rows=2))
    assert inference.verdict == "cannot tell"
    assert inference.sentence.endswith("but there are only 2 evaluations with both numbers")


def test_a_protocol_with_few_numbers_is_named_not_ranked() -> None:
    observed, published = synthetic(6, 0)
    observed["b/tf1"] = dict(list(observed["b/tf1"].items())[:20])
    observed["c"] = {}
    inference = infer("t", observed, published)
    assert inference.unranked == {"b/tf1": "20 of 33 cells have a number", "c": "0 of 33 cells have a number"}
    assert inference.cells == 33
    assert inference.ranking[0].protocol == "a/clean"


def test_without_any_pair_of_numbers_nothing_is_compared() -> None:
    observed, _ = synthetic(0, 0)
    assert infer("t", observed, {}).verdict == "nothing to compare"
    assert infer("t", {}, {}).verdict == "nothing to compare"


def test_values_without_a_logarithm_are_left_out() -> None:
    observed, published = synthetic(0, 0)
    cell = min(cell for cell in published if cell.metric == "mFID")
    for cells in observed.values():
        cells[cell] = Observed((0.0,))
    assert infer("t", observed, published).cells == 32


def test_noisy_values_decide_less() -> None:
    """With a sampling error as large as the protocols' distance, the likelihood ratio falls."""
    observed, published = synthetic(8, 0, metrics=("mKIDx100",))
    noisy = {n: {c: Observed(o.values, 8.0) for c, o in cells.items()} for n, cells in observed.items()}
    spread = {n: {c: Observed((o.values[0] - 8, o.values[0] + 8)) for c, o in m.items()} for n, m in observed.items()}
    exact = infer("t", observed, published).log_ratio
    for other in (noisy, spread):
        ratio = infer("t", other, published).log_ratio
        assert exact is not None
        assert ratio is not None
        assert ratio < exact / 4
