"""Learned or not: both scores are beaten or the row is marked, everywhere, and takes no part in what is claimed."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kdx2i.config import TableConfig
from kdx2i.metric_catalogue import METRICS, main_distance
from kdx2i.tables.assemble import Scores, assemble
from kdx2i.tables.comparison import compare
from kdx2i.tables.expectations import OrderExpectation, VerdictExpectation, failed_expectations
from kdx2i.tables.learning import judge_learning
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.model import Table
from kdx2i.tables.plot import render_plot
from kdx2i.tables.published import CellName, PublishedValue, read_published
from kdx2i.tables.render import print_table, render_csv, render_json, render_latex, render_markdown
from kdx2i.tables.screen import UNLEARNED_MARK

SCORE = st.floats(-500, 500).map(lambda value: round(value, 2))


def entry(value: float | None) -> dict[str, Any]:
    return {"mKIDx100": {"value": value}}


@given(st.lists(st.tuples(SCORE, SCORE), min_size=1, max_size=4), st.none() | SCORE)
def test_the_mean_over_seeds_must_beat_both(pairs: list[tuple[float, float]], blank: float | None) -> None:
    judged = judge_learning([(entry(a), entry(b)) for a, b in pairs], None if blank is None else entry(blank))
    assert judged is not None
    trained, untrained = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    assert (judged.trained, judged.untrained) == pytest.approx((trained, untrained), abs=1e-9)
    worst = judged.untrained if blank is None else min(judged.untrained, blank)
    assert judged.learned == (judged.trained < worst)


def test_without_an_untrained_score_nothing_is_said() -> None:
    assert judge_learning([(entry(3.0), {})], entry(1.0)) is None
    assert judge_learning([(entry(3.0), entry(None))], entry(1.0)) is None
    half = judge_learning([(entry(3.0), {}), (entry(2.0), entry(4.0))], None)
    assert half is not None
    assert (half.trained, half.untrained) == (2.0, 4.0)


def test_one_place_decides_by_which_distance() -> None:
    assert main_distance(METRICS) == "mKIDx100"
    assert main_distance(["FID", "KIDx100", "mFID"]) == "KIDx100"
    assert main_distance(METRICS, "frechet") == "mFID"
    assert main_distance(["IS"]) is None


def half_learned(kit: Any, config: TableConfig, blank: float = 900.0) -> Table:
    """`Base` of the part `latent` is worse on birds than its untrained network, every other row is better."""

    def scores(key: Any, found: Scores) -> Scores:
        fails = (key.architecture, key.transfer, key.dataset, key.mode) == ("stargan_v2", "scratch", "birds", "latent")
        values = {**found.values, **entry(100.0)}
        return Scores(found.seed, values, entry(50.0 if fails else 150.0))

    evaluations = kit.evaluations(config, lambda key, seed, metric: 40.0 + seed + 10 * (key.transfer == "kd"))
    controls = {place: {**rows, "blank": entry(blank)} for place, rows in kit.controls(config).items()}
    return assemble(
        config,
        kit.context(config),
        {key: [scores(key, item) for item in items] for key, items in evaluations.items()},
        controls,
        kit.budgets(config),
    )


def test_a_row_that_has_not_learned_is_marked_in_every_rendering(kit: Any, small: TableConfig) -> None:
    table = half_learned(kit, small)
    console = Console(record=True, width=200)
    print_table(table, {}, console)
    screen = console.export_text()
    assert screen.count(f"Base {UNLEARNED_MARK}") == 1
    assert "not learned: no better than untrained or blank" in screen
    for text in (render_markdown(table, {}), render_latex(table, {})):
        assert text.count("Base (not learned)") == 1
    for text in (" ".join(screen.split()), render_markdown(table, {}), render_latex(table, {})):
        assert "100.00; untrained 50.00, blank images 900.00" in text
    lines = list(csv.DictReader(io.StringIO(render_csv(table, {}))))
    unlearned = {(x["part"], x["label"], x["dataset"]) for x in lines if x["learned"] == "no"}
    assert unlearned == {("latent", "Base", "birds")}
    assert {x["main_untrained"] for x in lines if x["learned"] == "no"} == {"50.0"}
    assert {x["learned"] for x in lines if x["kind"] == "control"} == {""}
    assert render_plot(table, {}, "svg").count(b"not learned") > 0


def test_json_reads_back_with_the_verdict(kit: Any, small: TableConfig, tmp_path: Any) -> None:
    table = half_learned(kit, small)
    path = tmp_path / "small.json"
    path.write_text(render_json(table, {}), encoding="utf-8")
    assert load_table_json(path) == table


def test_blank_images_alone_can_fail_a_row(kit: Any, small: TableConfig) -> None:
    table = half_learned(kit, small, blank=80.0)
    assert {cell.learned for part in table.parts for row in part.methods() for cell in row.cells} == {False}


def test_it_takes_no_part_in_orders_gains_verdicts_and_expectations(kit: Any, small: TableConfig) -> None:
    table = half_learned(kit, small)
    printed = {
        CellName("latent", dataset, label, "mFID"): PublishedValue(
            table="small", name=CellName("latent", dataset, label, "mFID"), printed=value, direction="lower",
            resolution=None, note="",
        )
        for dataset in ("birds", "foods")
        for label, value in (("Old*", "90.0"), ("Base", "80.0"), ("Ours †", "70.0"))
    }  # fmt: skip
    result = compare([table], {"small": printed})
    rows = {order.dataset: order.rows for order in result.orders if (order.part, order.metric) == ("latent", "mFID")}
    assert rows == {"birds": 2, "foods": 3}
    gains = {(gain.dataset, gain.metric): gain for gain in result.gains if gain.part == "latent"}
    assert gains["birds", "mFID"].reproduced is None
    assert "the baseline has not learned" in gains["birds", "mFID"].reason
    assert gains["foods", "mFID"].reproduced is not None
    verdicts = {(c.label, c.dataset): c.verdict for c in result.cells if (c.part, c.metric) == ("latent", "mFID")}
    assert verdicts["Base", "birds"] == "not learned"
    assert verdicts["Base", "foods"] != "not learned"
    order = OrderExpectation(table="small", part="latent", metric="mFID", better="Base", than="Ours †")
    assert [failure.where for failure in failed_expectations([order], [table], result)] == ["small/latent/birds/mFID"]
    verdict = VerdictExpectation(
        table="small", part="latent", dataset="birds", metric="mFID", label="Base", verdict=["better", "worse"]
    )
    assert len(failed_expectations([verdict], [table], result)) == 1


def test_results_from_before_are_read_as_they_were(kit: Any, small: TableConfig) -> None:
    table = kit.table(small, lambda key, seed, metric: 40.0)
    assert all(
        cell.learned and cell.learning is None for part in table.parts for row in part.rows for cell in row.cells
    )
    assert "not learned" not in render_markdown(table, read_published(kit.root, "table1"))
