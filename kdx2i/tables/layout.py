"""What every rendering of a table shows: blocks of text cells, and the notes below them."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.learning import NOT_LEARNED
from kdx2i.tables.model import STAND_IN_KINDS, Cell, Context, Table, TablePart, TableRow, budget_text, marked
from kdx2i.tables.published import CellName, Published
from kdx2i.tasks.facts import CONTROL_MEANINGS

ONE_SEED = "¹"
SEEN = "²"
NO_PAPER = "–"


@dataclass(frozen=True)
class Line:
    """A row as text: `cells` holds (here, paper) for each metric, `counts` the images behind them.

    `absent`: no cell of the row has a number.
    """

    control: bool
    label: str
    pixels: str
    cells: tuple[tuple[str, str], ...]
    counts: str
    absent: bool


@dataclass(frozen=True)
class TableBlock:
    """One part on one dataset."""

    title: str
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]


def table_blocks(table: Table, published: Published) -> list[TableBlock]:
    """Return the table as blocks, one for each part and dataset, every row in each."""
    return [_block(table, part, dataset, published) for part in table.parts for dataset in part.datasets]


def _block(table: Table, part: TablePart, dataset: str, published: Published) -> TableBlock:
    """Write one block."""
    used = table.context.datasets.get(dataset)
    shown = dataset if used == dataset else f"{dataset} (here: {used or 'none'})"
    lines = tuple(_line(table, part, row, dataset, published) for row in part.rows)
    headings = tuple(METRICS[metric].heading for metric in part.metrics)
    return TableBlock(f"{part.title}: {shown}", headings, lines)


def _line(table: Table, part: TablePart, row: TableRow, dataset: str, published: Published) -> Line:
    """Write one row of a block."""
    cells = [row.cell(dataset, metric) for metric in part.metrics]
    texts: list[tuple[str, str]] = []
    for cell in cells:
        value = published.get(CellName(part.name, dataset, row.label, cell.metric))
        printed = value.printed if value is not None and row.kind == "method" else NO_PAPER
        seeds = len(table.context.seeds) if row.kind == "method" else None
        texts.append((cell_text(cell, seeds), printed))
    return Line(
        control=row.kind == "control",
        label=_label(table, row, dataset, cells),
        pixels=pixels(row),
        cells=tuple(texts),
        counts=counts(cells),
        absent=all(cell.mean is None for cell in cells),
    )


def _label(table: Table, row: TableRow, dataset: str, cells: Sequence[Cell]) -> str:
    """Write a row's label with what is to be known of it: its student, its teacher, whether it has learned."""
    label = marked(row.label, row.stage1) + (SEEN if table.teacher_note(row, dataset) else "")
    return label if all(cell.learned for cell in cells) else f"{label} ({NOT_LEARNED})"


def pixels(row: TableRow) -> str:
    """Write a row's resolution: `256`, or `64 for 256` where another stands in."""
    if row.actual_resolution in (None, row.resolution):
        return str(row.resolution)
    return f"{row.actual_resolution} for {row.resolution}"


def cell_text(cell: Cell, seeds: int | None) -> str:
    """Write a reproduced value with its interval, or the short reason that it is absent.

    `seeds` is the number of seeds that a method should have, None for a control, which has none.
    """
    if cell.mean is None:
        return short_reason(cell)
    quantity = METRICS[cell.metric]
    text = quantity.text(cell.mean)
    if seeds is None:
        return text
    if cell.interval is None:
        text += ONE_SEED
    else:
        text += f" ± {quantity.text((cell.interval[1] - cell.interval[0]) / 2)}"
    return text if len(cell.seeds) == seeds else f"{text} ({len(cell.seeds)} of {seeds} seeds)"


def short_reason(cell: Cell) -> str:
    """Return what stands in an empty cell: the reason up to its first colon."""
    first = cell.absent[0] if cell.absent else "missing"
    if first.startswith("seed "):
        first = first.split(": ", 1)[-1]
    return first.split(":")[0]


def counts(cells: Sequence[Cell]) -> str:
    """Write the numbers of real and generated images behind a row's values, and its classes."""
    by_counts: dict[str, list[str]] = {}
    for cell in cells:
        if cell.mean is not None and (cell.real or cell.generated):
            pair = f"{_spread(cell.real)}/{_spread(cell.generated)}"
            by_counts.setdefault(pair, []).append(METRICS[cell.metric].title.removesuffix(" %"))
    several = len(by_counts) > 1
    text = "; ".join(f"{', '.join(names)}: {pair}" if several else pair for pair, names in by_counts.items())
    classes = sorted({number for cell in cells for number in cell.classes})
    return f"{text} in {_spread(classes)} classes" if text and classes else text


def _spread(numbers: Sequence[int]) -> str:
    """Write counts: one number, the range of several, or a dash where there are none (LPIPS has no real images)."""
    if not numbers:
        return "–"
    return str(numbers[0]) if len(numbers) == 1 else f"{min(numbers)}–{max(numbers)}"


def notes(table: Table, published: Published) -> list[str]:
    """Return the lines below a table: conditions, what the numbers are not, budgets, and what is absent."""
    lines = [table.caption, _conditions(table.context)]
    if table.machines:
        lines.append(f"The cells were made on {len(table.machines)} kinds of machine: {'; '.join(table.machines)}.")
    if table.adopted:
        lines.append(
            f"{table.adopted} of the trainings behind the cells are adopted: made by earlier code, whose first steps "
            "are the same bits under today's."
        )
    lines += [line for line in (stand_in_line(table), _interval_line(table), _stage1_line(table)) if line]
    shown = {row.label for part in table.parts for row in part.controls()}
    meanings = ", ".join(text for title, text in CONTROL_MEANINGS.items() if title in shown)
    counts = "The last column counts the real and the generated images behind the values."
    lines.append(f"Control rows: {meanings}. {counts}")
    own = [*_teacher_lines(table), *_learning_lines(table), *_budget_lines(table), *_absent_lines(table)]
    return [*lines, *own, *_published_lines(table, published)]


def _conditions(context: Context) -> str:
    seeds = ", ".join(map(str, context.seeds))
    return (
        f"Preset {context.preset} ({context.title}); seeds {seeds}; features of {context.extractor}, "
        f"preprocessing {context.preprocessing}."
    )


def stand_in_line(table: Table) -> str:
    """Say that the numbers are no reproduction of the paper's absolute values; empty under its conditions."""
    kinds: dict[str, str] = {}
    for part in table.parts:
        for row in part.methods():
            for dataset in part.datasets:
                kinds |= {item.text: item.kind for item in table.departures(row, dataset)}
    stand_ins = [text for text, kind in kinds.items() if kind in STAND_IN_KINDS]
    protocol = [text for text, kind in kinds.items() if kind == "protocol"]
    if stand_ins:
        return (
            "Not a reproduction of the paper's absolute values: " + "; ".join(stand_ins + protocol) + ". "
            "Only orders and relative gains may be compared with the columns `paper`."
        )
    return f"Not the paper's conditions: {'; '.join(protocol)}." if protocol else ""


def _interval_line(table: Table) -> str:
    """Explain the marks of the values that are there."""
    cells = [cell for part in table.parts for row in part.methods() for cell in row.cells]
    lines = []
    if any(cell.interval is not None for cell in cells):
        lines.append("± is half of the 95% Student interval of the mean over seeds.")
    if any(cell.mean is not None and cell.interval is None for cell in cells):
        lines.append(f"{ONE_SEED} one seed, no interval over seeds; the CSV has the sampling error of each evaluation.")
    return " ".join(lines)


def _learning_lines(table: Table) -> list[str]:
    """Return a line for each part with the rows that have not learned, and their scores."""
    lines = []
    for part in table.parts:
        unlearned = {
            f"{row.label} on {cell.dataset} ({cell.learning.sentence})": None
            for row in part.methods()
            for cell in row.cells
            if cell.learning is not None and not cell.learned
        }
        if unlearned:
            lines.append(
                f"Not learned, {part.title}: {'; '.join(unlearned)}. Such a row is no better than its own network "
                "before the first update, or than blank images, and takes no part in orders, gains and claims."
            )
    return lines


def _stage1_line(table: Table) -> str:
    """Name the rows whose student has not been distilled; empty where there is none."""
    marks = {
        f"{row.label} ({pixels(row)} px)": row.stage1 for part in table.parts for row in part.methods() if row.stage1
    }
    if not marks:
        return ""
    named = ", ".join(f"{name}: {mark}" for name, mark in marks.items())
    return f"Stage 1: {named}; such a student does not beat its yardsticks (`snakemake stage1`, docs/stage1.md)."


def _teacher_lines(table: Table) -> list[str]:
    """Return one line for each teacher that has seen training images of its rows' dataset."""
    rows_of: dict[str, dict[str, None]] = {}
    for part in table.parts:
        for row in part.methods():
            for dataset in part.datasets:
                if note := table.teacher_note(row, dataset):
                    rows_of.setdefault(note, {})[f"{row.label} ({pixels(row)} px)"] = None
    return [f"{SEEN} {', '.join(rows)}: {note}." for note, rows in rows_of.items()]


def _budget_lines(table: Table) -> list[str]:
    """Return one line for each different budget, with the rows that had it."""
    labels: dict[str, dict[str, None]] = {}
    for part in table.parts:
        for row in part.methods():
            if row.budget is not None:
                name = f"{row.label} ({pixels(row)} px)"
                labels.setdefault(budget_text(row.budget), {})[name] = None
    if not labels:
        return ["Budget: no row has run."]
    return [f"Budget of {', '.join(names)}: {text or 'not recorded'}." for text, names in labels.items()]


def _absent_lines(table: Table) -> list[str]:
    """Return one line for each reason that a number, or a seed of it, is absent."""
    places: dict[str, dict[str, None]] = {}
    for part in table.parts:
        for row in part.rows:
            for cell in row.cells:
                for reason in cell.absent:
                    place = f"{row.label} ({pixels(row)} px)"
                    places.setdefault(reason, {})[place] = None
    return [f"{', '.join(rows)}: {reason}." for reason, rows in places.items()]


def _published_lines(table: Table, published: Published) -> list[str]:
    """Return the notes on the printed numbers of this table, each once, with the cells that it is about."""
    about: dict[str, list[str]] = {}
    for part in table.parts:
        for name, value in published.items():
            if name.part == part.name and value.note:
                about.setdefault(value.note, []).append(f"{name.label}, {name.dataset}, {name.metric}")
    return [f"Published ({'; '.join(dict.fromkeys(names))}): {note}." for note, names in about.items()]
