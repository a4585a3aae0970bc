"""What a table holds: parts, rows, cells, and the conditions that its numbers were made under.

A table travels as JSON: `Table.model_validate_json(table.model_dump_json())` is the same table.
"""

from typing import Literal

from pydantic import Field

from kdx2i.config import Strict
from kdx2i.tables.learning import Finite, Learning

DepartureKind = Literal["dataset", "resolution", "extractor", "protocol", "teacher", "budget"]
# Which Inception the paper used is not known; this is the one that FID is defined with.
PAPER_EXTRACTOR = "inception-v3-compat"
STAND_IN_KINDS = ("dataset", "resolution", "extractor")


class Departure(Strict):
    """One way in which numbers were made otherwise than the paper's, as a short phrase.

    It holds for every row, or for those of one `architecture`.
    """

    kind: DepartureKind
    text: str
    architecture: str | None = None


class TeacherNote(Strict):
    """What the teacher of a method has seen of a dataset (the paper's name), as a short phrase."""

    architecture: str
    transfer: str
    resolution: int
    dataset: str
    text: str


class Budget(Strict):
    """Updates and batch sizes of a method, here and in the paper (None where a number is not known).

    `distill` counts iterations of stage 1, `train` updates of the translating generator in stage 2.
    """

    distill: int | None = None
    distill_paper: int | None = None
    train: int | None = None
    train_paper: int | None = None
    distill_batch: int | None = None
    distill_batch_paper: int | None = None
    train_batch: int | None = None
    train_batch_paper: int | None = None

    @property
    def distill_share(self) -> float | None:
        """Share of the paper's iterations of stage 1; None where either is not known or there is none."""
        return _share(self.distill, self.distill_paper)

    @property
    def train_share(self) -> float | None:
        """Share of the paper's generator updates of stage 2; None where either is not known."""
        return _share(self.train, self.train_paper)

    def differs(self) -> bool:
        """Whether any known number is not the paper's."""
        pairs = (
            (self.distill, self.distill_paper),
            (self.train, self.train_paper),
            (self.distill_batch, self.distill_batch_paper),
            (self.train_batch, self.train_batch_paper),
        )
        return any(paper is not None and here != paper for here, paper in pairs)


def _share(here: int | None, paper: int | None) -> float | None:
    return here / paper if here is not None and paper else None


class Context(Strict):
    """The conditions of all numbers of a table.

    `datasets` and `resolutions` map the paper's names and pixels to those used. `protocol` holds the
    choice made for each entry of the register; `departures` says which of them, and which settings, are
    not those of the preset `paper`.
    """

    preset: str
    title: str
    datasets: dict[str, str]
    resolutions: dict[int, int]
    seeds: tuple[int, ...]
    extractor: str
    preprocessing: str
    protocol: dict[str, str] = Field(default_factory=dict)
    departures: tuple[Departure, ...] = ()


class Cell(Strict):
    """One number: the mean over seeds of a metric on a dataset (the paper's name), or why there is none.

    `seeds` and `values` stand side by side, sorted by seed. `interval` is the 95% Student interval of the
    mean, None with one seed. `standard_error` is the sampling error of one evaluation (the root mean square
    over seeds), None where a value came without. `real`, `generated` and `classes` are the counts behind the
    values (several where seeds differ). `absent` has one sentence for each number that is absent. `learning`: how the
    row stands on the dataset to its untrained network and to blank images; None where it is not known, or a control.
    """

    dataset: str
    metric: str
    seeds: tuple[int, ...] = ()
    values: tuple[Finite, ...] = ()
    mean: Finite | None = None
    interval: tuple[Finite, Finite] | None = None
    standard_error: Finite | None = None
    real: tuple[int, ...] = ()
    generated: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    absent: tuple[str, ...] = ()
    learning: Learning | None = None

    @property
    def learned(self) -> bool:
        """Whether nothing says that the row has not learned on the dataset."""
        return self.learning is None or self.learning.learned

    @property
    def claimed(self) -> float | None:
        """The mean where it may be compared with others: None for a row that has not learned."""
        return self.mean if self.learned else None

    @property
    def reason(self) -> str:
        """Why the number, or a part of its seeds, is not there; empty where nothing is missing."""
        return "; ".join(self.absent)


class TableRow(Strict):
    """A method of the table or a control; `resolution` is the paper's, `actual_resolution` the one used.

    `stage1`: that it starts from a student that has not been distilled, by seed where only some are; empty otherwise.
    """

    kind: Literal["method", "control"]
    label: str
    architecture: str | None = None
    transfer: str | None = None
    resolution: int
    actual_resolution: int | None = None
    budget: Budget | None = None
    stage1: str = ""
    cells: tuple[Cell, ...]

    @property
    def shown(self) -> str:
        """The label with what is to be known of the row's student."""
        return marked(self.label, self.stage1)

    def cell(self, dataset: str, metric: str) -> Cell:
        """Return the cell of a column."""
        return next(cell for cell in self.cells if (cell.dataset, cell.metric) == (dataset, metric))


class TablePart(Strict):
    """A part of a table: rows by columns in one mode."""

    name: str
    title: str
    mode: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def methods(self) -> tuple[TableRow, ...]:
        """The rows that the paper has."""
        return tuple(row for row in self.rows if row.kind == "method")

    def controls(self) -> tuple[TableRow, ...]:
        """The control rows."""
        return tuple(row for row in self.rows if row.kind == "control")


class Table(Strict):
    """One assembled table.

    `teachers` are the cells whose teacher has seen training images of their dataset; `machines` the kinds of machine
    that its cells were made on, where it was more than one; `adopted` counts the trainings behind them that were taken
    over from earlier code.
    """

    name: str
    title: str
    caption: str
    context: Context
    parts: tuple[TablePart, ...]
    teachers: tuple[TeacherNote, ...] = ()
    machines: tuple[str, ...] = ()
    adopted: int = 0

    def teacher_note(self, row: TableRow, dataset: str) -> str:
        """Return what a row's teacher has seen of a dataset's training images, empty for nothing that is known."""
        key = (row.architecture, row.transfer, row.resolution, dataset)
        texts = [n.text for n in self.teachers if (n.architecture, n.transfer, n.resolution, n.dataset) == key]
        return texts[0] if texts else ""

    def departures(self, row: TableRow, dataset: str) -> tuple[Departure, ...]:
        """Return every way in which a row's numbers on a dataset are not made like the paper's."""
        context = self.context
        departures: list[Departure] = []
        used = context.datasets.get(dataset)
        if used != dataset:
            departures.append(Departure(kind="dataset", text=f"{used or 'no dataset'} stands in for {dataset}"))
        if row.actual_resolution != row.resolution:
            pixels = f"{row.actual_resolution or 'no'} px stand in for {row.resolution} px"
            departures.append(Departure(kind="resolution", text=pixels))
        if context.extractor != PAPER_EXTRACTOR:
            text = f"features of {context.extractor} instead of {PAPER_EXTRACTOR}"
            departures.append(Departure(kind="extractor", text=text))
        departures.extend(item for item in context.departures if item.architecture in (None, row.architecture))
        if note := self.teacher_note(row, dataset):
            departures.append(Departure(kind="teacher", text=note))
        if row.budget is None and row.kind == "method":
            departures.append(Departure(kind="budget", text="the budget is not recorded"))
        elif row.budget is not None and row.budget.differs():
            departures.append(Departure(kind="budget", text=budget_text(row.budget)))
        return tuple(departures)


def marked(label: str, mark: str) -> str:
    """Return a row's label with a mark behind it, if there is one."""
    return f"{label} ({mark})" if mark else label


def budget_text(budget: Budget) -> str:
    """Write a budget and its share of the paper's, for both stages."""
    first = _stage("stage 1", budget.distill, budget.distill_paper, "iterations")
    second = _stage("stage 2", budget.train, budget.train_paper, "generator updates")
    stages = [
        first + _batch(budget.distill_batch, budget.distill_batch_paper) if first else "",
        second + _batch(budget.train_batch, budget.train_batch_paper) if second else "",
    ]
    return "; ".join(stage for stage in stages if stage)


def _stage(name: str, here: int | None, paper: int | None, unit: str) -> str:
    """Write one stage's budget; empty where it has none here (a method without stage 1)."""
    if here is None:
        return ""
    if not paper:
        return f"{name}: {here:,} {unit}"
    return f"{name}: {here:,} of the paper's {paper:,} {unit} ({100 * here / paper:.3g}%)"


def _batch(here: int | None, paper: int | None) -> str:
    """Write a batch size beside the paper's where that is another."""
    if here is None:
        return ""
    return f", batch {here}" + (f" for {paper}" if paper not in (None, here) else "")
