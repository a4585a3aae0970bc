"""Compare tables with the printed numbers: a verdict for each cell, orders and gains for each column."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdx2i.config import Strict
from kdx2i.files import write_csv, write_json
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.model import Table, TablePart, TableRow
from kdx2i.tables.orders import Gain, Order, gains, orders
from kdx2i.tables.published import CellName, Published
from kdx2i.tables.verdict import VerdictName, judge
from kdx2i.tasks.facts import REAL_AGAINST_REAL

FORMAT = "kdx2i-comparison-1"
COLUMNS = (
    "kind",
    "table",
    "part",
    "dataset",
    "metric",
    "direction",
    "label",
    "stage1",
    "baseline",
    "published",
    "reproduced",
    "low",
    "high",
    "seeds",
    "verdict",
    "reason",
    "detail",
    "tau",
    "rows",
    "concordant",
    "discordant",
    "tied",
    "agrees",
)
VERDICTS: tuple[VerdictName, ...] = ("reproduced", "better", "worse", "missing", "not learned", "not comparable")


class CellComparison(Strict):
    """One cell: the printed string (None where the paper prints none), the reproduced mean and the verdict.

    `stage1`: that the row starts from a student that has not been distilled; empty otherwise.
    """

    table: str
    part: str
    dataset: str
    metric: str
    label: str
    stage1: str = ""
    published: str | None
    note: str
    reproduced: float | None
    low: float | None
    high: float | None
    seeds: int
    verdict: VerdictName
    reason: str
    detail: str


class Comparison(Strict):
    """All cells, orders and gains of some tables, in the order of the tables."""

    preset: str
    cells: tuple[CellComparison, ...]
    orders: tuple[Order, ...]
    gains: tuple[Gain, ...]

    def count(self, verdict: VerdictName) -> int:
        """Return the number of cells with a verdict."""
        return sum(cell.verdict == verdict for cell in self.cells)


def compare(tables: Sequence[Table], published: Mapping[str, Published]) -> Comparison:
    """Compare tables of one preset with the printed numbers, given by table name.

    Tables of different presets, or none, raise `ValueError`.
    """
    presets = {table.context.preset for table in tables}
    if len(presets) != 1:
        raise ValueError(f"tables of one preset are needed, not of {sorted(presets)}")
    cells: list[CellComparison] = []
    for table in tables:
        for part in table.parts:
            for row in part.methods():
                cells.extend(_cells(table, part, row, published[table.name]))
    return Comparison(
        preset=presets.pop(),
        cells=tuple(cells),
        orders=tuple(order for table in tables for order in orders(table, published[table.name])),
        gains=tuple(gain for table in tables for gain in gains(table, published[table.name])),
    )


def _cells(table: Table, part: TablePart, row: TableRow, published: Published) -> list[CellComparison]:
    """Judge every cell of a row."""
    comparisons: list[CellComparison] = []
    for cell in row.cells:
        value = published.get(CellName(part.name, cell.dataset, row.label, cell.metric))
        floor = _floor(part, row.resolution, cell.dataset, cell.metric)
        verdict = judge(value, cell, table.departures(row, cell.dataset), floor)
        low, high = cell.interval or (None, None)
        comparisons.append(
            CellComparison(
                table=table.name,
                part=part.name,
                dataset=cell.dataset,
                metric=cell.metric,
                label=row.label,
                stage1=row.stage1,
                published=value.printed if value else None,
                note=value.note if value else "",
                reproduced=cell.mean,
                low=low,
                high=high,
                seeds=len(cell.seeds),
                verdict=verdict.name,
                reason=verdict.reason,
                detail=verdict.detail,
            )
        )
    return comparisons


def _floor(part: TablePart, resolution: int, dataset: str, metric: str) -> float | None:
    """Return the value of real against real in a column at a resolution of the paper."""
    for row in part.controls():
        if row.label == REAL_AGAINST_REAL and row.resolution == resolution:
            return row.cell(dataset, metric).mean
    return None


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `comparison.csv` (a line for each cell, order and gain) and `comparison.json`; return the paths."""
    csv_path, json_path = folder / "comparison.csv", folder / "comparison.json"
    write_csv(csv_path, COLUMNS, comparison_rows(comparison))
    write_json(json_path, as_document(comparison))
    return [csv_path, json_path]


def as_document(comparison: Comparison) -> dict[str, Any]:
    """Return `comparison.json`."""
    return {"format": FORMAT, **comparison.model_dump(mode="json")}


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the lines of `comparison.csv`: numbers in full precision, empty fields where there is none."""
    rows: list[dict[str, Any]] = []
    items: list[tuple[str, Strict]] = [("cell", cell) for cell in comparison.cells]
    items += [("order", order) for order in comparison.orders]
    items += [("gain", gain) for gain in comparison.gains]
    for kind, item in items:
        data = item.model_dump(mode="python")
        data["direction"] = METRICS[data["metric"]].direction
        row = {column: _field(data.get(column)) for column in COLUMNS}
        rows.append(row | {"kind": kind})
    return rows


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(value)
    return "" if value is None else str(value)


def metric_tree(tables: Sequence[Table]) -> dict[str, Any]:
    """Return the reproduced means as nested mappings for `dvc metrics`: table, part, dataset, row, metric.

    Absent numbers have no key.
    """
    tree: dict[str, Any] = {}
    for table in tables:
        for part in table.parts:
            for row in part.methods():
                for cell in row.cells:
                    if cell.mean is not None:
                        path = (table.name, part.name, cell.dataset, row.label)
                        _subtree(tree, path)[cell.metric] = cell.mean
    return tree


def _subtree(tree: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Return the mapping at a path, new where there is none."""
    for step in path:
        tree = tree.setdefault(step, {})
    return tree
