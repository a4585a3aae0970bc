"""Agreement of runs: honest reruns pass at the stated rate, one wrong method is found, what is written is right."""

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from kdx2i.config import TableConfig
from kdx2i.errors import UserError
from kdx2i.tables.agreement import agreement_of, judged_cells, judged_rows, reversals
from kdx2i.tables.agreement_text import agreement_line, as_document, print_agreement, write_agreement
from kdx2i.tables.model import Table
from kdx2i.tables.replicates import CellKey, Replicate, read_replicates, replicates_of, write_replicates
from kdx2i.tables.spread import Scatter, by_cell, scatters, shrunken

ROWS, METRICS_OF_ROWS, DATASETS = 11, ("mKIDx100", "RC"), 3


class World:
    """Rows that scatter unequally over seeds and machines: a reference, and runs of the same or of another method."""

    def __init__(self, seed: int, *, over_seeds: float, over_machines: float, unequal: float = 0.5) -> None:
        self.rng = np.random.default_rng(seed)
        self.over_seeds, self.over_machines, self.unequal = over_seeds, over_machines, unequal

    def draw(self, seeds: int, machines: int, run: tuple[int, ...], wrong: float = 0.0) -> Any:
        """Return the run and the reference as `judged_cells` takes them; the first row is off by `wrong` deviations."""
        own, theirs = {}, {}
        for row in range(ROWS):
            for metric in METRICS_OF_ROWS:
                size = 10 * math.exp(self.unequal * self.rng.standard_normal())
                for dataset in range(DATASETS):
                    key = CellKey("table", "part", f"row {row}", f"data {dataset}", metric)
                    effects = self.rng.standard_normal(max(seeds, *(seed + 1 for seed in run))) * self.over_seeds
                    rest = self.rng.standard_normal((len(effects), machines + 1)) * self.over_machines
                    value = 200 + size * (effects[:, None] + rest)
                    value[:, -1] += wrong * size * (row == 0)
                    theirs[key] = {s: {str(m): float(value[s, m]) for m in range(machines)} for s in range(seeds)}
                    own[key] = {s: float(value[s, -1]) for s in run}
        return own, theirs


@pytest.mark.parametrize(
    ("seeds", "machines", "run", "over_seeds", "basis"),
    [
        (3, 2, (0, 1, 2), 1.0, "machines"),
        (3, 2, (0,), 1.0, "machines"),
        (3, 2, (3, 4, 5), 1.0, "seeds"),
        (3, 2, (7,), 0.3, "seeds"),
        (5, 1, (0, 1, 2), 1.0, "seeds"),
    ],
)
def test_honest_reruns_pass_at_the_stated_rate(
    seeds: int, machines: int, run: tuple[int, ...], over_seeds: float, basis: str
) -> None:
    world = World(3, over_seeds=over_seeds, over_machines=1.0)
    agreeing, failed, trials = 0.0, 0, 25
    for _ in range(trials):
        found, cells = judged_cells(*world.draw(seeds, machines, run))
        assert found == basis
        agreeing += sum(cell.verdict == "agrees" for cell in cells) / len(cells) / trials
        failed += any(row.differs for row in judged_rows(cells))
    # 25 reruns of 66 cells: the share has a standard error of about a percent.
    assert agreeing >= 0.925
    assert failed <= 2


@pytest.mark.parametrize("run", [(0, 1, 2), (3, 4, 5)])
def test_one_wrong_method_is_found_and_no_other_is_blamed(run: tuple[int, ...]) -> None:
    world = World(4, over_seeds=0.5, over_machines=1.0)
    for _ in range(5):
        _, cells = judged_cells(*world.draw(3, 2, run, wrong=15.0))
        differing = {row.row[2] for row in judged_rows(cells) if row.differs}
        assert differing == {"row 0"}
        others = [cell.verdict == "agrees" for cell in cells if cell.cell.label != "row 0"]
        assert sum(others) / len(others) > 0.85


def test_the_reference_itself_agrees_with_itself() -> None:
    _, theirs = World(5, over_seeds=1.0, over_machines=1.0).draw(3, 2, (0,))
    for machine in ("0", "1"):
        own = {key: {seed: values[machine] for seed, values in found.items()} for key, found in theirs.items()}
        _, cells = judged_cells(own, theirs)
        assert not [row for row in judged_rows(cells) if row.differs]
        assert sum(cell.verdict == "agrees" for cell in cells) > 0.95 * len(cells)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.integers(1, 12)), min_size=1, max_size=8))
def test_shrinkage_borrows_but_never_narrows_a_row_that_scatters_more(found: list[tuple[float, int]]) -> None:
    rows = {("t", "p", f"{number}", "RC"): Scatter(*pair) for number, pair in enumerate(found)}
    total = sum(freedom for _, freedom in found)
    for row, scatter in shrunken(rows).items():
        assert scatter.variance >= rows[row].variance
        assert rows[row].freedom <= scatter.freedom <= total


def test_variances_are_those_within_seeds_or_over_them() -> None:
    key = CellKey("t", "p", "row", "birds", "RC")
    values = {(0, "a"): 1.0, (0, "b"): 3.0, (1, "a"): 5.0, (1, "b"): 5.0}
    cells = by_cell(Replicate(key, seed, machine, value) for (seed, machine), value in values.items())
    row = ("t", "p", "row", "RC")
    assert scatters(cells, "machines")[row] == Scatter(pytest.approx(1.0), 2)
    # Machine a: 1 and 5, variance 8; machine b: 3 and 5, variance 2; two seeds have one degree of freedom.
    assert scatters(cells, "seeds")[row] == Scatter(pytest.approx(5.0), 1)
    assert scatters(by_cell([Replicate(key, 0, "a", 1.0)]), "seeds") == {}


def tables(kit: Any, config: TableConfig, shift: float = 0.0) -> Table:
    """A table whose row `Old*` is off by `shift`."""
    return kit.table(  # type: ignore[no-any-return]
        config,
        lambda key, seed, metric: 50.0 + 4 * seed + 10 * (key.transfer == "kd") + shift * (key.architecture == "sdit"),
    )


def reference_of(kit: Any, config: TableConfig) -> tuple[list[Table], list[Replicate]]:
    first, second = tables(kit, config), tables(kit, config)
    shaken = [item._replace(value=item.value * (1.01 if item.seed else 0.99)) for item in replicates_of(second, "b")]
    return [first], [*replicates_of(first, "a"), *shaken]


def test_a_table_is_judged_and_written(kit: Any, small: TableConfig, tmp_path: Any) -> None:
    reference, replicates = reference_of(kit, small)
    same = agreement_of([tables(kit, small)], reference, replicates)
    assert same.agrees
    assert (same.basis, same.seeds) == ("machines", (0, 1, 2))
    assert same.count("agrees") == same.judged == len(same.cells) == 16
    other = agreement_of([tables(kit, small, 30.0)], reference, replicates)
    assert not other.agrees
    assert {row.row[2] for row in other.rows if row.differs} == {"Old*"}
    assert "Old* (latent) by 2 metrics" in agreement_line(other, "trial")
    assert "12 of 16 cells lie in the band" in agreement_line(other, "trial")
    document = json.loads(json.dumps(as_document(other, "trial"), allow_nan=False))
    assert document["agrees"] is False and len(document["cells"]) == 16
    assert {row["row"][2] for row in document["rows"] if row["differs"]} == {"Old*"}
    shown = {}
    for every in (False, True):
        console = Console(file=io.StringIO(), width=80)
        print_agreement(other, "trial", "notes", console, every=every)
        shown[every] = console.file.getvalue()
        assert max(map(len, shown[every].splitlines())) <= 80
    assert shown[True].count("Base") > 0 and "Base" not in shown[False] and "Old*" in shown[False]
    write_agreement(other, "trial", "notes", tmp_path)
    with (tmp_path / "agreement.csv").open(encoding="utf-8") as handle:
        lines = list(csv.DictReader(handle))
    assert {line["label"] for line in lines if line["verdict"] == "differs"} == {"Old*"}
    assert all(float(line["low"]) < float(line["reference"]) < float(line["high"]) for line in lines)
    assert (tmp_path / "agreement.md").read_text(encoding="utf-8").count("| differs | differs |") == 4


def test_a_number_on_one_side_only_is_no_agreement(kit: Any, small: TableConfig) -> None:
    reference, replicates = reference_of(kit, small)
    run = kit.table(
        small, lambda key, seed, metric: None if metric == "RC" else 50.0 + 4 * seed + 10 * (key[2] == "kd")
    )
    found = agreement_of([run], reference, replicates)
    assert found.count("absent here") == 6
    assert not found.agrees
    assert "6 numbers are absent here" in agreement_line(found, "trial")


def test_pairs_of_rows_that_turned_are_counted_by_metric(kit: Any, small: TableConfig) -> None:
    counted = {item.metric: item for item in reversals([tables(kit, small, 5.0)], [tables(kit, small)])}
    # Of Old*, Base and Ours in two columns, Old* and Base were equal: 5 more is no turn. Against Ours neither.
    assert (counted["RC"].pairs, counted["RC"].turned) == (6, 0)
    counted = {item.metric: item for item in reversals([tables(kit, small, 20.0)], [tables(kit, small)])}
    assert (counted["RC"].pairs, counted["RC"].turned, counted["RC"].left_out) == (6, 2, 0)
    assert (counted["mFID"].pairs, counted["mFID"].turned) == (8, 2)


def test_the_record_of_a_spread_reads_back(kit: Any, small: TableConfig, tmp_path: Any) -> None:
    _, replicates = reference_of(kit, small)
    write_replicates(tmp_path / "spread.csv", replicates)
    assert read_replicates(tmp_path / "spread.csv") == replicates
    (tmp_path / "spread.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="the columns must be"):
        read_replicates(tmp_path / "spread.csv")
