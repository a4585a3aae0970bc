"""A table on the screen: for each dataset the paper's layout in 80 columns, and what its signs mean.

Each cell is the value here, half of its 95% interval over seeds, and the paper's number. The controls that are the ends
of the scale are one line below the rows. Departures from the paper, budgets, reasons and the other controls are in the
table's Markdown file; `print_table` prints them where there is no such file.
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
from kdx2i.tables.layout import NO_PAPER, SEEN, notes
from kdx2i.tables.model import Cell, Table, TablePart
from kdx2i.tables.published import CellName, Published
from kdx2i.tables.screen_legend import (
    ENDS,
    JOINED,
    REFERENCE,
    SCALE,
    SIGNS,
    UNDISTILLED_MARK,
    UNLEARNED_MARK,
    guided,
    legend,
)

WIDTH = 80
LEAST_LABEL = 9


@dataclass(frozen=True)
class _Line:
    """A row: its label with marks, and (here, paper) for each metric; `style` is rich's.

    `spans`: the first text of a cell takes the room of both.
    """

    label: str
    cells: tuple[tuple[str, str], ...]
    style: str = ""
    spans: bool = False


def print_table(table: Table, published: Published, console: Console, *, file: str = "") -> None:
    """Print a table within 80 columns; `file` is the Markdown file that has the rest. Without one the rest follows."""
    width = min(console.width, WIDTH)
    title = Text(_wrapped(f"{table.title}. {table.caption}", width), style="dim")
    title.stylize("not dim bold", 0, len(table.title) + 1)
    console.print(title)
    for (dataset, metrics), parts in groupby(_columns(table), key=lambda column: column[:2]):
        here = [part for *_, part in parts]
        reasons = _reasons_of_none(here, dataset)
        if reasons:
            console.print(Text(_ruled(dataset, width), style="bold cyan"), width=width)
            console.print(Text(_wrapped(f"{NO_PAPER} {'; '.join(reasons)}", width), style="dim"))
            continue
        sections = _sections(table, here, dataset, published)
        for text in _block(dataset, sections, [METRICS[metric].heading for metric in metrics], width):
            console.print(text, no_wrap=True, crop=False, overflow="ignore")
    signs = Text(_wrapped(legend(table, file), width), style="dim")
    signs.highlight_words([f"{sign}{end}" for sign in SIGNS for end in ": \n"], "not dim bold")
    console.print(signs)
    if not file:
        for note in notes(table, published):
            console.print(escape(f"- {note}"), style="dim", width=width)


def _wrapped(text: str, width: int) -> str:
    """Return a text in lines of at most `width` characters; names of files and what is `JOINED` stay whole."""
    return textwrap.fill(text, width, break_on_hyphens=False).replace(JOINED, " ")


def _ruled(text: str, width: int) -> str:
    """Return a text that a rule goes on from, up to `width` characters."""
    return f"{text} {'─' * (width - len(text) - 1)}"


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
    """Return the rows of each part, below its title where several parts have one, and the ends of the scale.

    Parts that differ in a reference image alone have no titles, and a word behind the labels of those that have one.
    """
    marked = guided(parts)
    scales = [_scale(part, dataset) for part in parts]
    sections = []
    for at, part in enumerate(parts):
        word = REFERENCE if part in marked else ""
        lines = _methods(table, part, dataset, published, word)
        if at + 1 == len(parts) or scales[at + 1] != scales[at]:
            lines += scales[at]
        sections.append((part.title if len(parts) > 1 and not marked else "", lines))
    return sections


def _block(
    dataset: str, sections: Sequence[tuple[str, Sequence[_Line]]], headings: Sequence[str], width: int
) -> list[Text]:
    """Lay out the rows of one dataset; metrics that find no room beside the others follow below them."""
    lines = [line for _, section in sections for line in section]
    heads = [heading.replace(" ", "") for heading in headings]
    own, spanning = [line for line in lines if not line.spans], [line for line in lines if line.spans]
    here, paper = [], []
    for at, head in enumerate(heads):
        paper.append(max(len("paper"), *(len(line.cells[at][1]) for line in own)))
        wide = [len(line.cells[at][0]) - 1 - paper[at] for line in spanning]
        here.append(max(len(head), *wide, *(len(line.cells[at][0]) for line in own)))
    wanted, numbers = max(len(line.label) for line in lines), sum(here) + sum(paper) + len(heads)
    if LEAST_LABEL + numbers + len(heads) > width and len(heads) > 1:
        half = (len(heads) + 1) // 2
        made = []
        for chosen in (slice(half), slice(half, None)):
            parts = [(title, [replace(line, cells=line.cells[chosen]) for line in of]) for title, of in sections]
            made += _block(dataset, parts, headings[chosen], width)
        return made
    wanted = max(wanted, len(dataset) + 2)
    gap = 2 if wanted + numbers + 2 * len(heads) <= width else 1
    space = min(max(width - numbers - gap * len(heads), LEAST_LABEL), wanted)

    def laid(label: str, cells: Iterable[tuple[str, str]], style: str, *, spans: bool = False) -> Text:
        text = Text(f"{label:{space}}", style=style)
        for at, (value, printed) in enumerate(cells):
            if spans:
                text.append(f"{'':{gap}}{value:>{here[at] + 1 + paper[at]}}")
            else:
                text.append(f"{'':{gap}}{value:>{here[at]}}")
                text.append(f" {printed:>{paper[at]}}", style="dim")
        return text

    made = [] if len(dataset) < space else [Text(_ruled(dataset, width), style="bold cyan")]
    made.append(laid("" if made else _ruled(dataset, space), [(head, "paper") for head in heads], "bold cyan"))
    for title, section in sections:
        made += [Text(title, style="italic")] if title else []
        for line in section:
            first, *more = textwrap.wrap(line.label, space, break_on_hyphens=False)
            made.append(laid(first, line.cells, line.style, spans=line.spans))
            made += [Text(rest, style=line.style) for rest in more]
    return made


def _methods(table: Table, part: TablePart, dataset: str, published: Published, word: str) -> list[_Line]:
    """Return the rows of the paper; `word` follows their labels."""
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
        signs = (UNDISTILLED_MARK if row.stage1 else "") + (SEEN if table.teacher_note(row, dataset) else "")
        label = " ".join(text for text in (row.label + signs, word, "" if learned else UNLEARNED_MARK) if text)
        lines.append(_Line(label, texts, style))
    return lines


def _scale(part: TablePart, dataset: str) -> list[_Line]:
    """Return the line with the ends of a part's scale, `ENDS`, at its highest resolution; none without a number."""
    highest = max(row.resolution for row in part.rows)
    rows = {row.label: row for row in part.controls() if row.resolution == highest}

    def end(label: str, metric: str) -> str:
        return compact(rows[label].cell(dataset, metric)) if label in rows else NO_PAPER

    texts = ["…".join(end(label, metric) for label in ENDS) for metric in part.metrics]
    if set("".join(texts)) <= {NO_PAPER, "…"}:
        return []
    return [_Line(SCALE, tuple((text, "") for text in texts), "dim italic", spans=True)]


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
