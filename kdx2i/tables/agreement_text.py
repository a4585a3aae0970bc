"""The agreement of a run with a reference as one line, as Markdown, as CSV and on the screen."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.files import write_csv, write_text
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.agreement import (
    CONFIDENCE,
    FAMILY_ERROR,
    ONE_SIDED,
    CellAgreement,
    RowAgreement,
    RunAgreement,
)
from kdx2i.tables.markdown import escape_markdown
from kdx2i.tables.replicates import CellKey
from kdx2i.tables.spread import Row, row_of

FORMAT = "kdx2i-agreement-1"
COLUMNS = (*CellKey._fields, "value", "reference", "low", "high", "verdict", "freedom", "row_chance", "row_verdict")
_HEADINGS = ("table", "row", "dataset", "metric", "here", "reference", "band", "cell", "row by metric")
_COLOURS = {"agrees": "green", "differs": "red"}


def agreement_line(agreement: RunAgreement, name: str) -> str:
    """Return the one line: agreeing cells, those that chance would leave, the verdict, the pairs of rows turned."""
    if not agreement.judged:
        return f"Agreement with {name}: no cell has a number on both sides."
    expected = CONFIDENCE * agreement.judged
    cells = (
        f"{agreement.count('agrees')} of {agreement.judged} cells lie in the band of one more run "
        f"({expected:.0f} expected of an honest rerun)"
    )
    return f"Agreement with {name}: {cells}; {_verdict(agreement)}. {_turned(agreement)}"


def short_line(agreement: RunAgreement, name: str) -> str:
    """Return the verdict with the counts of cells alone, for a screen."""
    if not agreement.judged:
        return agreement_line(agreement, name)
    expected = f"{CONFIDENCE * agreement.judged:.0f} expected of a rerun"
    cells = f"{agreement.count('agrees')} of {agreement.judged} cells, {expected}"
    if agreement.agrees:
        return f"AGREES with {name}: {cells}."
    return f"Agreement with {name}: {cells}; {_verdict(agreement)}."


def _verdict(agreement: RunAgreement) -> str:
    """Say whether the run agrees, and which rows do not."""
    differing = Counter((row.row[1], row.row[2]) for row in agreement.rows if row.differs)
    reasons = [
        f"{label} ({part}) by {number} metric{'s' * (number > 1)}" for (part, label), number in differing.items()
    ]
    for verdict in ONE_SIDED:
        if agreement.count(verdict):
            reasons.append(f"{agreement.count(verdict)} numbers are {verdict}")
    if agreement.agrees:
        return f"it AGREES: no row differs (error {FAMILY_ERROR:.0%} over {len(agreement.rows)} comparisons)"
    return f"it DOES NOT AGREE: {'; '.join(reasons)}"


def _turned(agreement: RunAgreement) -> str:
    """Say how many pairs of rows changed their order by each metric."""
    counts = [
        f"{METRICS[item.metric].title.removesuffix(' %')} {item.turned}/{item.pairs}" for item in agreement.reversals
    ]
    left_out = sum(item.left_out for item in agreement.reversals)
    more = f" ({left_out} pairs with a row that has not learned are left out)" if left_out else ""
    return f"Pairs of rows in another order: {', '.join(counts)}{more}."


def basis_line(agreement: RunAgreement, machines: int, seeds: int) -> str:
    """Say what the band is made of."""
    what = (
        "each seed is compared with itself on other machines"
        if agreement.basis == "machines"
        else "the run is one more draw of seeds, since not all of its seeds were repeated on several machines"
    )
    run = ", ".join(map(str, agreement.seeds))
    return f"Run: seeds {run}. Reference: {seeds} seeds, {machines} machines or instruction sets; {what}."


def _lines(agreement: RunAgreement) -> Iterator[tuple[CellAgreement, RowAgreement | None]]:
    rows: dict[Row, RowAgreement] = {row.row: row for row in agreement.rows}
    yield from ((cell, rows.get(row_of(cell.cell))) for cell in agreement.cells)


def _texts(cell: CellAgreement, row: RowAgreement | None) -> list[str]:
    """Write one cell for people, in the order of `_HEADINGS`."""
    text = METRICS[cell.cell.metric].text
    value, reference = ("–" if number is None else text(number) for number in (cell.value, cell.reference))
    band = "–" if cell.low is None or cell.high is None else f"{text(cell.low)} to {text(cell.high)}"
    by_metric = "–" if row is None else "differs" if row.differs else "agrees"
    key = cell.cell
    place = [f"{key.table} {key.part}", key.label, key.dataset, METRICS[key.metric].title]
    return [*place, value, reference, band, cell.verdict, by_metric]


def write_agreement(agreement: RunAgreement, name: str, notes: str, folder: Path) -> list[Path]:
    """Write `agreement.csv` (full precision) and `agreement.md` into a folder, and return the paths."""
    rows = [_fields(cell, row) for cell, row in _lines(agreement)]
    write_csv(folder / "agreement.csv", COLUMNS, rows)
    text = [f"# Agreement with {escape_markdown(name)}", escape_markdown(agreement_line(agreement, name))]
    grid = [list(_HEADINGS), ["---"] * len(_HEADINGS)]
    grid += [[escape_markdown(text) for text in _texts(cell, row)] for cell, row in _lines(agreement)]
    text += [escape_markdown(notes), "\n".join(f"| {' | '.join(line)} |" for line in grid)]
    write_text(folder / "agreement.md", "\n\n".join(text) + "\n")
    return [folder / "agreement.csv", folder / "agreement.md"]


def _fields(cell: CellAgreement, row: RowAgreement | None) -> dict[str, Any]:
    """Return one line of the CSV: numbers in full precision, empty fields where there is none."""
    numbers = {
        "value": cell.value,
        "reference": cell.reference,
        "low": cell.low,
        "high": cell.high,
        "freedom": cell.freedom,
        "row_chance": None if row is None else row.chance,
    }
    return {
        **cell.cell._asdict(),
        **{name: "" if number is None else repr(float(number)) for name, number in numbers.items()},
        "verdict": cell.verdict,
        "row_verdict": "" if row is None else "differs" if row.differs else "agrees",
    }


def as_document(agreement: RunAgreement, name: str) -> dict[str, Any]:
    """Return the agreement as JSON: the verdict, each row by each metric and each cell, numbers in full precision."""
    return {
        "format": FORMAT,
        "reference": name,
        "agrees": agreement.agrees,
        "seeds": list(agreement.seeds),
        "basis": agreement.basis,
        "rows": [{**asdict(row), "row": list(row.row)} for row in agreement.rows],
        "cells": [{**asdict(cell), "cell": cell.cell._asdict()} for cell in agreement.cells],
        "reversals": [asdict(item) for item in agreement.reversals],
    }


def print_agreement(agreement: RunAgreement, name: str, notes: str, console: Console, *, every: bool = False) -> None:
    """Print the cells, what the band is made of, and the line; without `every` only the cells that do not agree."""
    chosen = [(cell, row) for cell, row in _lines(agreement) if every or cell.verdict != "agrees"]
    grid = Grid(
        title=escape(f"Agreement with {name}") if every else "Outside the band of one more run",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
    )
    for heading in _HEADINGS:
        grid.add_column(heading, justify="right" if heading in ("here", "reference", "band") else "left")
    for cell, row in chosen:
        *place, verdict, by_metric = _texts(cell, row)
        marks = [f"[{_COLOURS.get(word, 'yellow')}]{word}[/]" for word in (verdict, by_metric)]
        grid.add_row(*map(escape, place), *marks)
    if chosen:
        console.print(grid)
    console.print(escape(notes), style="dim", highlight=False)
    print_line(agreement, name, console, short=False)


def print_line(agreement: RunAgreement, name: str, console: Console, *, short: bool = True) -> None:
    """Print the line, or a short one, green where the run agrees and yellow where it does not."""
    style = "green" if agreement.agrees else "yellow"
    text = short_line(agreement, name) if short else agreement_line(agreement, name)
    console.print(escape(text), style=style, highlight=False)
