"""Comparisons and expectations: what passes, what fails, and what never passes."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from kdx2i.config import TableConfig, load_table
from kdx2i.errors import UserError
from kdx2i.tables.assemble import assemble
from kdx2i.tables.comparison import COLUMNS, VERDICTS, compare, metric_tree, write_comparison
from kdx2i.tables.comparison_screen import print_comparison
from kdx2i.tables.expectations import exit_code, failed_expectations, load_expectations
from kdx2i.tables.model import Budget, Table
from kdx2i.tables.published import CellName, read_published

ROOT = Path(__file__).parents[2]


def as_printed(kit: Any, name: str, **options: Any) -> Table:
    """A table whose every evaluation gives exactly the printed number."""
    config, published = load_table(ROOT, name), read_published(ROOT, name)
    by_key: dict[Any, float] = {}
    for row in config.rows:
        part = config.part(row.part)
        for dataset in config.datasets_of(row.part):
            for metric in config.metrics_of(row.part):
                value = published.get(CellName(row.part, dataset, row.label, metric))
                if value is not None:
                    key = (dataset, row.architecture, row.transfer, row.resolution, part.mode, metric)
                    by_key[key] = float(value.value)
    return kit.table(config, lambda key, seed, metric: by_key.get((*key, metric)), **options)


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table4", "table5", "table6", "table7"])
def test_the_paper_reproduces_itself(kit: Any, name: str) -> None:
    published = read_published(ROOT, name)
    result = compare([as_printed(kit, name)], {name: published})
    printed = [cell for cell in result.cells if cell.published is not None]
    unprinted = [cell for cell in result.cells if cell.published is None]
    assert len(printed) == len(published) and {cell.verdict for cell in printed} == {"reproduced"}
    assert {cell.metric for cell in unprinted} == ({"R-precision"} if name == "table2" else set())
    assert all(cell.verdict == "missing" for cell in unprinted)
    assert all(order.tau in (None, pytest.approx(1.0)) for order in result.orders)
    assert all(order.discordant == 0 for order in result.orders)
    assert all(gain.agrees in (True, None) for gain in result.gains)
    for gain in result.gains:
        assert gain.reproduced == pytest.approx(gain.published)


def test_the_same_numbers_on_a_stand_in_reproduce_nothing(kit: Any) -> None:
    published = read_published(ROOT, "table1")
    result = compare([as_printed(kit, "table1", stand_in=True)], {"table1": published})
    assert result.count("not comparable") == len(published)
    assert {cell.reason for cell in result.cells} == {"protocol"}
    assert all(order.tau == pytest.approx(1.0) for order in result.orders)


def test_a_short_budget_alone_is_named(kit: Any) -> None:
    result = compare([as_printed(kit, "table1", iterations=200)], {"table1": read_published(ROOT, "table1")})
    assert {(cell.verdict, cell.reason) for cell in result.cells} == {("not comparable", "budget")}
    assert "200 of the paper's 100,000 generator updates" in result.cells[0].detail


def test_unprinted_bars_are_not_compared(kit: Any) -> None:
    config, published = load_table(ROOT, "figure3b"), read_published(ROOT, "figure3b")
    result = compare([kit.table(config, lambda key, seed, metric: 100.0)], {"figure3b": published})
    assert len(result.cells) == 15
    assert sum(cell.reason == "not printed" for cell in result.cells) == 12


def test_the_floor_is_that_of_the_rows_resolution(kit: Any, small: TableConfig) -> None:
    published = read_published(ROOT, "table1")
    name = CellName("latent", "birds", "Old*", "mFID")
    value = published[CellName("latent", "birds", "SDIT", "mFID")]
    controls = kit.controls(small, 0.0)
    controls["birds", 128, None] = kit.controls(small, 1e6)["birds", 128, None]
    table = assemble(
        small,
        kit.context(small),
        kit.evaluations(small, lambda key, seed, metric: 500.0 + seed),
        controls,
        kit.budgets(small),
    )
    cells = compare([table], {"small": {name: value, name._replace(label="Base"): value}}).cells
    reasons = {
        cell.label: cell.reason for cell in cells if (cell.part, cell.dataset, cell.metric) == name[:2] + name[3:]
    }
    assert reasons["Old*"] == "sample-size bias"
    assert reasons["Base"] == "really different"


@settings(max_examples=15, deadline=None)
@given(absent=st.sets(st.integers(0, 10)))
def test_absent_numbers_never_pass(kit: Any, absent: set[int]) -> None:
    config, published = load_table(ROOT, "table1"), read_published(ROOT, "table1")
    gone = {(config.rows[i].architecture, config.rows[i].transfer, config.rows[i].resolution) for i in absent}
    evaluations = {
        key: values
        for key, values in kit.evaluations(config, lambda key, seed, metric: 1.0).items()
        if key[1:4] not in gone
    }
    table = assemble(config, kit.context(config), evaluations, {}, kit.budgets(config))
    result = compare([table], {"table1": published})
    assert len(result.cells) == len(published)
    counted = sum((row.architecture, row.transfer, row.resolution) in gone for row in config.rows) * 12
    assert result.count("missing") == counted
    assert result.count("reproduced") == 0
    assert all(cell.verdict == "missing" for cell in result.cells if cell.reproduced is None)


def test_files_of_a_comparison(kit: Any, tmp_path: Path) -> None:
    table = as_printed(kit, "table1", stand_in=True, seeds=(0,))
    result = compare([table], {"table1": read_published(ROOT, "table1")})
    paths = write_comparison(result, tmp_path)
    assert [path.name for path in paths] == ["comparison.csv", "comparison.json"]
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_comparison(result, tmp_path)] == first
    lines = list(csv.DictReader(io.StringIO(first[0].decode())))
    kinds = [line["kind"] for line in lines]
    assert (kinds.count("cell"), kinds.count("order")) == (132, 24)
    assert tuple(lines[0]) == COLUMNS
    data = json.loads(first[1])
    assert len(data["gains"]) == kinds.count("gain") == 3 * 12
    buffer = io.StringIO()
    print_comparison(result, Console(file=buffer, width=200), every=True)
    assert "132 cells of preset open" in buffer.getvalue()
    assert "one seed" in buffer.getvalue()


def test_metrics_for_dvc_hold_only_what_is_there(kit: Any, small: TableConfig) -> None:
    table = kit.table(small, lambda key, seed, metric: None if metric == "RC" else 2.0)
    assert metric_tree([table])["small"]["latent"]["birds"]["Base"] == {"mFID": 2.0}


def test_tables_of_two_presets_are_refused(kit: Any, small: TableConfig) -> None:
    tables = [kit.table(small, lambda *_: 1.0), kit.table(small, lambda *_: 1.0, stand_in=True)]
    with pytest.raises(ValueError, match="one preset"):
        compare(tables, {"small": {}})


# -- expectations ------------------------------------------------------------------------------------


def failures(tmp_path: Path, table: Table, text: str) -> list[str]:
    path = tmp_path / "expect.yaml"
    path.write_text(f"expectations:\n  - {text}\n", encoding="utf-8")
    result = compare([table], {"small": {}})
    failed = failed_expectations(load_expectations(path), [table], result)
    assert exit_code(failed) == (1 if failed else 0)
    return [f"{failure.where}: {failure.why}" for failure in failed]


@pytest.fixture
def better(kit: Any, small: TableConfig) -> Table:
    """Ours is better in both metrics: lower mFID, higher RC, with a little noise."""

    def value(key: Any, seed: int, metric: str) -> float:
        gain = 20.0 if key.transfer == "kd" else 0.0
        return 100.0 + seed + (gain if metric == "RC" else -gain)

    return kit.table(small, value)


ORDER = "{table: small, part: latent, better: Ours †, than: Base"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (ORDER + "}", 0),
        (ORDER + ", metric: mFID}", 0),
        (ORDER + ", dataset: birds, metric: RC, margin: 0.15, beyond_noise: true}", 0),
        (ORDER + ", margin: 0.25}", 4),
        ("{table: small, part: latent, better: Base, than: Ours †}", 4),
        ("{table: small, part: latent, better: Base, than: Base}", 4),
        ("{table: small, part: latent, tau_at_least: -1}", 4),
        ("{table: small, part: latent, label: Base, verdict: [not comparable]}", 0),
        ("{table: small, part: reference, label: Base, verdict: [reproduced, better]}", 2),
    ],
)
def test_expectations(tmp_path: Path, better: Table, text: str, count: int) -> None:
    assert len(failures(tmp_path, better, text)) == count


def test_an_absent_number_fails_every_expectation(kit: Any, small: TableConfig, tmp_path: Path) -> None:
    table = kit.table(small, lambda key, seed, metric: None if key.transfer == "kd" else 1e9)
    assert len(failures(tmp_path, table, ORDER + "}")) == 4
    assert len(failures(tmp_path, table, "{table: small, part: latent, better: Base, than: Ours †}")) == 4
    every = ", ".join(name for name in VERDICTS if name not in ("missing", "not learned"))
    assert len(failures(tmp_path, table, f"{{table: small, part: latent, label: Ours †, verdict: [{every}]}}")) == 4


def test_one_seed_shows_no_gain_beyond_the_noise(kit: Any, small: TableConfig, tmp_path: Path) -> None:
    table = kit.table(small, lambda key, seed, metric: 1.0 if key.transfer == "kd" else 2.0, seeds=(0,))
    (first, _) = failures(tmp_path, table, ORDER + ", metric: mFID, beyond_noise: true}")
    assert first.startswith("small/latent/birds/mFID: Ours † has 1.0, Base has 2.0: one seed, no interval")
    assert failures(tmp_path, table, ORDER + ", metric: mFID}") == []


def test_agreement_is_expected_with_the_printed_order(kit: Any, tmp_path: Path) -> None:
    table = as_printed(kit, "table1", stand_in=True)
    result = compare([table], {"table1": read_published(ROOT, "table1")})
    path = tmp_path / "expect.yaml"
    path.write_text("expectations: [{table: table1, part: latent, tau_at_least: 1.0}]", encoding="utf-8")
    taus = [order for order in result.orders if order.part == "latent" and not (order.tau or 0) >= 1.0]
    assert len(failed_expectations(load_expectations(path), [table], result)) == len(taus)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{table: tabel1, part: latent, better: a, than: b}", "table `tabel1`"),
        ("{table: small, part: latnet, better: a, than: b}", "part `latnet`"),
        ("{table: small, part: latent, dataset: bird, better: Base, than: Base}", "dataset `bird`"),
        ("{table: small, part: latent, metric: FIDD, better: Base, than: Base}", "metric `FIDD`"),
        ("{table: small, part: latent, better: Our, than: Base}", "row `Our`"),
        ("{table: small, part: latent, label: Our, verdict: [better]}", "row `Our`"),
        ("{table: small, part: latent, label: Base, verdict: [missing]}", "verdict"),
        ("{table: small, part: latent, better: Base}", "`than` is missing"),
        ("{table: small, part: latent}", "exactly one of the keys"),
        ("{table: small, part: latent, better: Base, than: Base, tau_at_least: 1}", "exactly one of the keys"),
        ("just words", "exactly one of the keys"),
    ],
)
def test_a_mistake_in_an_expectation_is_never_a_success(tmp_path: Path, better: Table, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        failures(tmp_path, better, text)


def test_a_file_without_expectations_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "expect.yaml"
    path.write_text("expect: []", encoding="utf-8")
    with pytest.raises(UserError, match="expectations"):
        load_expectations(path)


def test_the_suite_ships_no_expectation() -> None:
    assert not list((ROOT / "benchmarks").rglob("*expectation*"))


def test_a_share_of_the_budget_is_exact() -> None:
    assert Decimal(Budget(train=100000, train_paper=100000).train_share or 0) == 1
