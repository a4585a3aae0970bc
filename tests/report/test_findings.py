"""What the report says first follows from verdicts and intervals alone."""

from typing import Any

import pytest

from kdx2i.report.findings import compare_rows, gain_rows, order_counts, overall, statements, verdict_counts
from kdx2i.tables.comparison import CellComparison, Comparison
from kdx2i.tables.model import Context, Table, TablePart, TableRow
from kdx2i.tables.orders import Gain, Order

PLACE = {"table": "table1", "part": "latent", "dataset": "birds", "metric": "mFID"}


def cell(label: str, verdict: Any, reproduced: float | None = 110.0, published: str | None = "110.4") -> CellComparison:
    numbers = {"published": published, "reproduced": reproduced, "low": None, "high": None, "seeds": 1, "note": ""}
    return CellComparison(**PLACE, label=label, verdict=verdict, reason="", detail="", **numbers)


def gain(label: str, value: float | None, low: float | None, high: float | None, agrees: bool | None = None) -> Gain:
    numbers = {"published": 0.1, "reproduced": value, "low": low, "high": high, "seeds": 3, "agrees": agrees}
    return Gain(**PLACE, label=label, baseline="StarGANv2", reason="", **numbers)


def table(labels: list[str]) -> Table:
    rows = [TableRow(kind="method", label=label, resolution=128, cells=()) for label in labels]
    part = TablePart(name="latent", title="Latent", mode="latent", datasets=("birds",), metrics=("mFID",), rows=rows)
    context = Context(
        preset="paper", title="", datasets={}, resolutions={}, seeds=(0,), extractor="x", preprocessing="clean"
    )
    return Table(name="table1", title="Table 1", caption="", context=context, parts=(part,))


def test_a_difference_stands_where_both_numbers_have_one_scale() -> None:
    cells = (
        cell("Ours", "better", 107.4),
        cell("SDIT", "not comparable", 50.0),
        cell("DMIT", "missing", None),
        cell("Extra", "not comparable", 50.0, None),
    )
    comparison = Comparison(preset="paper", cells=cells, orders=(), gains=())
    rows = compare_rows(comparison, [table(["Ours", "SDIT", "DMIT", "Extra"])])
    assert [row.difference for row in rows] == ["-3.0", "", "", ""]
    assert rows[0].key == "table1/latent/0/birds/mFID"
    assert [row.reproduced for row in rows] == ["107.4", "50.0", "", "50.0"]
    assert verdict_counts(cells) == [("better", 1), ("missing", 1), ("not comparable", 2)]


def test_a_gain_is_said_where_its_interval_excludes_zero() -> None:
    gains = [
        gain("Ours", 0.2, 0.1, 0.3, True),
        gain("Ours", -0.2, -0.3, -0.1, False),
        gain("Ours", 0.2, -0.1, 0.5, True),
        gain("Ours", 0.2, None, None, True),
        gain("Ours", None, None, None),
    ]
    rows = gain_rows(gains)
    assert [row.verdict for row in rows] == ["better", "worse", "cannot tell", "cannot tell", "not judged"]
    assert [row.agrees for row in rows] == ["same", "other", "same", "same", ""]
    assert rows[0].reproduced == pytest.approx(20)
    (statement,) = statements(rows)
    assert (statement.better, statement.worse, statement.unclear, statement.unjudged) == (1, 1, 2, 1)
    assert overall([statement, statement]).startswith("of 10 cells: better on 2, worse on 2, too close to tell on 4")
    assert overall([]) == ""


def test_orders_are_summed_by_table() -> None:
    one = {**PLACE, "tau": 1.0, "reason": ""}
    orders = [
        Order(**one, rows=3, concordant=2, discordant=1, tied=0),
        Order(**{**one, "tau": None}, rows=1, concordant=0, discordant=0, tied=0),
    ]
    (count,) = order_counts(orders)
    assert (count.columns, count.compared, count.concordant, count.pairs) == (2, 1, 2, 3)
