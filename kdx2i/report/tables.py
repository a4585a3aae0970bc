"""A table as the page shows it: rows by datasets and metrics, and what stands behind each number."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdx2i.metric_catalogue import METRICS
from kdx2i.report.lineage import Lineage
from kdx2i.report.sources import ReportTable
from kdx2i.tables.comparison import CellComparison
from kdx2i.tables.layout import counts, pixels, short_reason
from kdx2i.tables.model import STAND_IN_KINDS, Cell, TablePart, TableRow, budget_text
from kdx2i.tables.published import CellName

CellKey = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class CellView:
    """One number: `text` (or the short reason that it is absent), half its interval, what the paper prints."""

    key: str
    text: str
    half: str
    printed: str
    absent: bool
    learned: bool
    verdict: str


@dataclass(frozen=True)
class RowView:
    """A row: its label, pixels and budget, and its cells in the order of datasets and metrics."""

    label: str
    control: bool
    pixels: str
    budget: str
    cells: tuple[CellView, ...]


@dataclass(frozen=True)
class PartView:
    """A part of a table; `datasets` are (the paper's name, the one used here)."""

    title: str
    datasets: tuple[tuple[str, str], ...]
    headings: tuple[str, ...]
    rows: tuple[RowView, ...]


@dataclass(frozen=True)
class TableView:
    """A table; `stand_in`: other data, sizes or features stand in for the paper's, and no absolute value compares."""

    name: str
    title: str
    caption: str
    place: str
    commit: str
    machines: tuple[str, ...]
    stand_in: bool
    departures: tuple[str, ...]
    parts: tuple[PartView, ...]


@dataclass
class Details:
    """What the page tells of each number on a click: `cells` by key; `texts` holds each long sentence once."""

    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def text(self, sentence: str) -> int:
        """Return the index of a sentence among the texts."""
        if sentence not in self.texts:
            self.texts.append(sentence)
        return self.texts.index(sentence)


def table_view(
    shown: ReportTable, verdicts: Mapping[CellKey, CellComparison], lineage: Lineage, details: Details
) -> TableView:
    """Return a table for the page, and add its results to `lineage` and its numbers to `details`."""
    table, context = shown.table, shown.table.context
    leaves = lineage.add_cells(shown)
    parts = tuple(_part(shown, part, verdicts, leaves, lineage, details) for part in table.parts)
    rows = [(row, dataset) for part in table.parts for row in part.methods() for dataset in part.datasets]
    kinds = {item.kind for row, dataset in rows for item in table.departures(row, dataset)}
    return TableView(
        name=table.name,
        title=table.title,
        caption=table.caption,
        place=(shown.source.folder / "tables" / f"{table.name}.csv").as_posix(),
        commit=str(shown.record.get("git_commit") or "unknown"),
        machines=table.machines,
        stand_in=bool(kinds & set(STAND_IN_KINDS)),
        departures=tuple(item.text for item in context.departures),
        parts=parts,
    )


def _part(
    shown: ReportTable,
    part: TablePart,
    verdicts: Mapping[CellKey, CellComparison],
    leaves: Mapping[str, list[str]],
    lineage: Lineage,
    details: Details,
) -> PartView:
    used = shown.table.context.datasets
    return PartView(
        title=part.title,
        datasets=tuple((dataset, used.get(dataset, "none")) for dataset in part.datasets),
        headings=tuple(METRICS[metric].heading for metric in part.metrics),
        rows=tuple(_row(shown, part, number, verdicts, leaves, lineage, details) for number in range(len(part.rows))),
    )


def _row(
    shown: ReportTable,
    part: TablePart,
    number: int,
    verdicts: Mapping[CellKey, CellComparison],
    leaves: Mapping[str, list[str]],
    lineage: Lineage,
    details: Details,
) -> RowView:
    row = part.rows[number]
    views = []
    for cell in _cells(part, row):
        key = f"{shown.table.name}/{part.name}/{number}/{cell.dataset}/{cell.metric}"
        verdict = verdicts.get((shown.table.name, part.name, cell.dataset, row.label, cell.metric))
        if row.kind == "control":
            behind = _controls_behind(shown, row, cell, lineage)
        else:
            behind = leaves.get(f"{part.name}/{row.label}/{cell.dataset}", [])
        details.cells[key] = _detail(shown, part, row, cell, verdict if row.kind == "method" else None, details, behind)
        views.append(_cell(shown, part, row, cell, key, verdict))
    return RowView(
        label=row.shown,
        control=row.kind == "control",
        pixels=pixels(row),
        budget="" if row.budget is None else budget_text(row.budget),
        cells=tuple(views),
    )


def _cells(part: TablePart, row: TableRow) -> Iterator[Cell]:
    for dataset in part.datasets:
        for metric in part.metrics:
            yield row.cell(dataset, metric)


def _controls_behind(shown: ReportTable, row: TableRow, cell: Cell, lineage: Lineage) -> list[str]:
    """Return the key of the control values that a control row's cell comes from; none where it has none."""
    used = shown.table.context.datasets.get(cell.dataset)
    if cell.mean is None or used is None or row.actual_resolution is None:
        return []
    name = f"results/{shown.table.context.preset}/controls/{used}/r{row.actual_resolution}"
    return [lineage.add(shown.source, name)]


def _cell(
    shown: ReportTable, part: TablePart, row: TableRow, cell: Cell, key: str, verdict: CellComparison | None
) -> CellView:
    quantity = METRICS[cell.metric]
    half = "" if cell.interval is None else quantity.text((cell.interval[1] - cell.interval[0]) / 2)
    value = shown.published.get(CellName(part.name, cell.dataset, row.label, cell.metric))
    method = row.kind == "method"
    return CellView(
        key=key,
        text=short_reason(cell) if cell.mean is None else quantity.text(cell.mean),
        half=half,
        printed=value.printed if value is not None and method else "",
        absent=cell.mean is None,
        learned=cell.learned,
        verdict=verdict.verdict if verdict is not None and method else "",
    )


def _detail(
    shown: ReportTable,
    part: TablePart,
    row: TableRow,
    cell: Cell,
    verdict: CellComparison | None,
    details: Details,
    leaves: list[str],
) -> dict[str, Any]:
    """Return what is told of one number on a click."""
    quantity = METRICS[cell.metric]
    used = shown.table.context.datasets.get(cell.dataset, "none")
    departures = shown.table.departures(row, cell.dataset) if row.kind == "method" else ()
    detail: dict[str, Any] = {
        "title": f"{row.shown}, {cell.dataset}, {quantity.title}",
        "table": f"{shown.table.title} · {part.title}",
        "show": f"{shown.table.name} {part.name}/{row.label}/{cell.dataset}",
        "metric": cell.metric,
        "digits": quantity.digits,
        "better": quantity.direction,
        "dataset": cell.dataset if used == cell.dataset else f"{cell.dataset} (here: {used})",
        "pixels": pixels(row),
        "mean": cell.mean,
        "interval": cell.interval,
        "standard_error": cell.standard_error,
        "seeds": cell.seeds if row.kind == "method" else (),
        "values": cell.values,
        "counts": counts([cell]),
        "absent": cell.reason,
        "learned": None if cell.learning is None else cell.learning.learned,
        "learning": "" if cell.learning is None else cell.learning.sentence,
        "departures": [details.text(item.text) for item in departures],
        "leaves": leaves,
    }
    if verdict is not None:
        detail |= {
            "published": verdict.published,
            "note": verdict.note,
            "verdict": verdict.verdict,
            "reason": verdict.reason,
            "because": details.text(verdict.detail),
        }
    return detail
