"""A table on the screen: for each dataset the paper's layout in 80 columns, and what its marks mean.

Each cell is the value here, half of its 95% interval over seeds, and the paper's number. Departures from the paper,
budgets and reasons are in the table's Markdown file; `print_table` prints them where there is no such file.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.layout import NO_PAPER, SEEN, notes, short_reason, stand_in_line
from kdx2i.tables.model import Cell, Table, TablePart, TableRow
from kdx2i.tables.orders import BASELINE
from kdx2i.tables.published import CellName, Published
from kdx2i.tasks.facts import REAL_AGAINST_REAL

WIDTH = 80
LEAST_LABEL = 9
UNLEARNED_MARK, UNDISTILLED_MARK = "!", "§"
_ENDS = (REAL_AGAINST_REAL, "Blank")


@dataclass(frozen=True)
class _Line:
    """A row: its label with marks, and (here, paper) for each metric; `style` is rich's."""

    label: str
    cells: tuple[tuple[str, str], ...]
    style: str = ""


def print_table(table: Table, published: Published, console: Console, *, file: str = "") -> None:
    """Print a table within 80 columns; `file` is the Markdown file that has the rest. Without one the rest follows."""
    width = min(console.width, WIDTH)
    console.print(Text(table.title, style="bold"), width=width)
    console.print(Text(_wrapped(table.caption, width), style="dim"))
    for (dataset, metrics), parts in groupby(_columns(table), key=lambda column: column[:2]):
        console.print()
        used = table.context.datasets.get(dataset)
        title = dataset if used == dataset else f"{dataset} (here: {used or 'no data'})"
        console.print(Text(title, style="bold cyan"), width=width)
        here = [part for *_, part in parts]
        reasons = _reasons_of_none(here, dataset)
        if reasons:
            console.print(Text(_wrapped(f"{NO_PAPER} {'; '.join(reasons)}", width), style="dim"))
            continue
        sections = _sections(table, here, dataset, published)
        for text in _block(sections, [METRICS[metric].heading for metric in metrics], width):
            console.print(text, no_wrap=True, crop=False, overflow="ignore")
    console.print()
    for line in _legend(table, file):
        console.print(Text(_wrapped(line, width), style="dim"))
    if not file:
        for note in notes(table, published):
            console.print(escape(f"- {note}"), style="dim", width=width)


def _wrapped(text: str, width: int) -> str:
    """Return a text in lines of at most `width` characters; names of files stay whole."""
    return textwrap.fill(text, width, break_on_hyphens=False)


def _reasons_of_none(parts: Sequence[TablePart], dataset: str) -> list[str]:
    """Return why no row of a dataset has a number; nothing where one has."""
    cells = [c for part in parts for row in part.methods() for c in row.cells if c.dataset == dataset]
    if any(cell.mean is not None for cell in cells):
        return []
    return list(dict.fromkeys(cell.reason or "missing" for cell in cells))


def _columns(table: Table) -> list[tuple[str, tuple[str, ...], TablePart]]:
    """Return (dataset, metrics, part), parts of one dataset and the same metrics side by side, in the table's order."""
    columns = [(dataset, part.metrics, part) for part in table.parts for dataset in part.datasets]
    order = list(dict.fromkeys(column[:2] for column in columns))
    return sorted(columns, key=lambda column: order.index(column[:2]))


def _sections(
    table: Table, parts: Sequence[TablePart], dataset: str, published: Published
) -> list[tuple[str, list[_Line]]]:
    """Return the rows of each part below its title (empty for a single part); controls that are alike stand last."""
    controls = [_controls(part, dataset) for part in parts]
    sections = []
    for at, part in enumerate(parts):
        lines = _methods(table, part, dataset, published)
        if at + 1 == len(parts) or controls[at + 1] != controls[at]:
            lines += controls[at]
        sections.append((part.title if len(parts) > 1 else "", lines))
    return sections


def _block(sections: Sequence[tuple[str, Sequence[_Line]]], headings: Sequence[str], width: int) -> list[Text]:
    """Lay out the rows of one dataset; metrics that find no room beside the others follow below them."""
    lines = [line for _, section in sections for line in section]
    heads = [heading.replace(" ", "") for heading in headings]
    here = [max(len(head), *(len(line.cells[at][0]) for line in lines)) for at, head in enumerate(heads)]
    paper = [max(len("paper"), *(len(line.cells[at][1]) for line in lines)) for at in range(len(heads))]
    wanted, numbers = max(len(line.label) for line in lines), sum(here) + sum(paper) + len(heads)
    if LEAST_LABEL + numbers + len(heads) > width and len(heads) > 1:
        half = (len(heads) + 1) // 2
        made = []
        for chosen in (slice(half), slice(half, None)):
            parts = [(title, [replace(line, cells=line.cells[chosen]) for line in of]) for title, of in sections]
            made += _block(parts, headings[chosen], width)
        return made
    gap = 2 if wanted + numbers + 2 * len(heads) <= width else 1
    space = min(max(width - numbers - gap * len(heads), LEAST_LABEL), wanted)

    def laid(label: str, cells: Iterable[tuple[str, str]], style: str) -> Text:
        text = Text(f"{label:{space}}", style=style)
        for at, (value, printed) in enumerate(cells):
            text.append(f"{'':{gap}}{value:>{here[at]}}")
            text.append(f" {printed:>{paper[at]}}", style="dim")
        return text

    made = [laid("", [(head, "paper") for head in heads], "bold")]
    for title, section in sections:
        made += [Text(title, style="italic")] if title else []
        for line in section:
            first, *more = textwrap.wrap(line.label, space, break_on_hyphens=False)
            made.append(laid(first, line.cells, line.style))
            made += [Text(rest, style=line.style) for rest in more]
    return made


def _methods(table: Table, part: TablePart, dataset: str, published: Published) -> list[_Line]:
    """Return the rows of the paper."""
    lines = []
    for row in part.methods():
        cells = [row.cell(dataset, metric) for metric in part.metrics]
        printed = [published.get(CellName(part.name, dataset, row.label, metric)) for metric in part.metrics]
        texts = tuple(
            (compact(cell), NO_PAPER if value is None else value.printed)
            for cell, value in zip(cells, printed, strict=True)
        )
        absent, learned = all(cell.mean is None for cell in cells), all(cell.learned for cell in cells)
        style = "dim" if absent else "" if learned else "yellow"
        lines.append(_Line(_label(table, row, dataset, learned), texts, style))
    return lines


def _controls(part: TablePart, dataset: str) -> list[_Line]:
    """Return the controls that are the ends of a part's scale, at its highest resolution."""
    highest = max(row.resolution for row in part.rows)
    lines = []
    for row in part.controls():
        texts = tuple((compact(row.cell(dataset, metric)), "") for metric in part.metrics)
        if row.label in _ENDS and row.resolution == highest and any(value != NO_PAPER for value, _ in texts):
            lines.append(_Line(row.label, texts, "dim italic"))
    return lines


def _label(table: Table, row: TableRow, dataset: str, learned: bool) -> str:
    """Return a row's label with its marks."""
    marks = (UNDISTILLED_MARK if row.stage1 else "") + (SEEN if table.teacher_note(row, dataset) else "")
    return f"{row.label}{marks}" + ("" if learned else f" {UNLEARNED_MARK}")


def compact(cell: Cell) -> str:
    """Write a value and half of its interval in few characters: `387±70`, `9.97±0.21`, `26.4`; a dash for none.

    The interval keeps two digits, or the metric's where those are fewer; a value alone keeps four.
    """
    if cell.mean is None:
        return NO_PAPER
    most = METRICS[cell.metric].digits
    if cell.interval is None:
        before = len(str(int(abs(cell.mean))))
        return _rounded(cell.mean, max(0, min(most, 4 - before)))
    half = (cell.interval[1] - cell.interval[0]) / 2
    digits = most if half <= 0 else max(0, min(most, 1 - math.floor(math.log10(half))))
    return f"{_rounded(cell.mean, digits)}±{_rounded(half, digits)}"


def _rounded(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _legend(table: Table, file: str) -> list[str]:
    """Return what marks and columns mean, as far as the table has them, and where the rest is."""
    rows = [(row, cell) for part in table.parts for row in part.methods() for cell in row.cells]
    there = [cell for _, cell in rows if cell.mean is not None]
    seeds = len(table.context.seeds)
    over = f"± half of the 95 % interval over {seeds} seeds" if seeds > 1 else "one seed, so no interval"
    lines = [f"Each cell: the value here ({over}), then the paper's. ↓ lower is better, ↑ higher."]
    if any(row.transfer != BASELINE for row, _ in rows):
        lines.append("Ours, KD: the paper's method and its variants, which start from a distilled student.")
    if any(not cell.learned for cell in there):
        lines.append(f"{UNLEARNED_MARK} not learned: no better than before its first update, or than blank images.")
    if any(row.stage1 for row, _ in rows):
        lines.append(f"{UNDISTILLED_MARK} not distilled: its student does not beat its yardsticks (snakemake stage1).")
    if any(table.teacher_note(row, cell.dataset) for row, cell in rows):
        lines.append(f"{SEEN} its teacher has seen training images of this dataset.")
    if any(len(cell.seeds) < seeds for cell in there):
        lines.append(f"Some cells have fewer seeds than {seeds}.")
    absent: dict[str, dict[str, None]] = {}
    measured = {cell.dataset for cell in there}
    for row, cell in rows:
        if cell.mean is None and cell.dataset in measured:
            absent.setdefault(short_reason(cell), {})[row.label] = None
    lines += [f"{NO_PAPER} {reason}: {', '.join(labels)}." for reason, labels in absent.items()]
    if len(table.machines) > 1:
        lines.append(f"The cells were made on {len(table.machines)} kinds of machine.")
    if file:
        stand_in = "Not a reproduction of the paper's absolute values: compare orders and gains. "
        why = (
            "Data, sizes, features and budgets, and every control row"
            if stand_in_line(table)
            else "Budgets and every control row"
        )
        lines.append(f"{stand_in if stand_in_line(table) else ''}{why}: {file}")
    return lines
