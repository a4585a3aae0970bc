"""Assemble a table from evaluations: every row stays, nothing is filled in, controls stand below."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kdx2i.config import PartConfig, RowConfig, TableConfig
from kdx2i.plan.mode import Mode
from kdx2i.tables.intervals import mean, mean_interval
from kdx2i.tables.learning import BLANK, Learning, judge_learning
from kdx2i.tables.model import Budget, Cell, Context, Table, TablePart, TableRow
from kdx2i.tasks.facts import TASKS

MISSING = "missing"
# No metric comes near; beyond it the squares behind an interval could overflow.
LARGEST = 1e100


class EvaluationKey(NamedTuple):
    """Which evaluations a cell is made of, in the paper's words: one evaluation for each seed."""

    dataset: str
    architecture: str
    transfer: str
    resolution: int
    mode: str


class MethodKey(NamedTuple):
    """A method at a resolution of the paper: what a budget belongs to."""

    architecture: str
    transfer: str
    resolution: int


@dataclass(frozen=True)
class Scores:
    """The values of one evaluation: metric -> {"value", "n_real", "n_generated", "classes", "reason"}.

    `untrained`: the main distance of the same method before its first update, where it was scored.
    """

    seed: int
    values: Mapping[str, Mapping[str, Any]]
    untrained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Absent:
    """Why an evaluation is not there; `seed` is None where the reason holds for every seed."""

    reason: str
    seed: int | None = None


Evaluations = Mapping[EvaluationKey, Sequence[Scores | Absent]]
# By the paper's dataset and resolution, and by the direction (`dog2cat`) or None.
Controls = Mapping[tuple[str, int, str | None], Mapping[str, Mapping[str, Mapping[str, Any]]] | Absent]
Budgets = Mapping[MethodKey, Budget]


def assemble(
    config: TableConfig,
    context: Context,
    evaluations: Evaluations,
    controls: Controls,
    budgets: Budgets,
) -> Table:
    """Return the table of `config`: one row for each of its rows, in its order, then the control rows.

    `evaluations` holds for each cell's key one `Scores` or `Absent` a seed, in any order; a seed of the
    context that is not there makes a sentence, never a number. `controls` is keyed by the paper's dataset,
    resolution and direction and holds {control name: {metric: entry}}. `budgets` is keyed by method. A seed that
    stands twice or that the context does not have raises `ValueError`.
    """
    parts = tuple(_part(config, part, context, evaluations, controls, budgets) for part in config.parts)
    caption = " ".join(config.caption.split())
    return Table(name=config.name, title=config.title, caption=caption, context=context, parts=parts)


def direction_of(mode: str) -> str | None:
    """Return the direction of a mode, e.g. `dog2cat`, or None for all classes."""
    direction = Mode.parse(mode).direction
    return None if direction is None else "2".join(direction)


def _part(
    config: TableConfig,
    part: PartConfig,
    context: Context,
    evaluations: Evaluations,
    controls: Controls,
    budgets: Budgets,
) -> TablePart:
    """Assemble one part with its methods and controls."""
    datasets, metrics = tuple(config.datasets_of(part.name)), tuple(config.metrics_of(part.name))
    rows = [row for row in config.rows if row.part == part.name]
    methods = [
        _method(part, row, context, evaluations, controls, budgets, datasets=datasets, metrics=metrics) for row in rows
    ]
    resolutions = sorted({method.resolution for method in methods})
    control_rows = [
        _control(control, resolution, context, controls, direction_of(part.mode), datasets=datasets, metrics=metrics)
        for resolution in resolutions
        for control in TASKS[part.task].controls.items()
    ]
    return TablePart(
        name=part.name,
        title=part.title,
        mode=part.mode,
        datasets=datasets,
        metrics=metrics,
        rows=(*methods, *control_rows),
    )


def _method(
    part: PartConfig,
    row: RowConfig,
    context: Context,
    evaluations: Evaluations,
    controls: Controls,
    budgets: Budgets,
    *,
    datasets: Sequence[str],
    metrics: Sequence[str],
) -> TableRow:
    """Assemble the row of a method."""
    resolution = part.resolution or row.resolution
    cells: list[Cell] = []
    for dataset in datasets:
        key = EvaluationKey(dataset, row.architecture, row.transfer, resolution, part.mode)
        scores, absent = _by_seed(evaluations.get(key, ()), context.seeds, "/".join(map(str, key)))
        of_controls = controls.get((dataset, resolution, direction_of(part.mode)), {})
        learning = _learning(evaluations.get(key, ()), of_controls)
        cells.extend(_cell(dataset, metric, scores, absent, learning) for metric in metrics)
    return TableRow(
        kind="method",
        label=row.label,
        architecture=row.architecture,
        transfer=row.transfer,
        resolution=resolution,
        actual_resolution=context.resolutions.get(resolution),
        budget=budgets.get(MethodKey(row.architecture, row.transfer, resolution)),
        cells=tuple(cells),
    )


def _learning(
    evaluations: Sequence[Scores | Absent], controls: Mapping[str, Mapping[str, Mapping[str, Any]]] | Absent
) -> Learning | None:
    """Return how a row stands on a dataset to its untrained networks and to blank images."""
    scored = [(item.values, item.untrained) for item in evaluations if isinstance(item, Scores)]
    return judge_learning(scored, None if isinstance(controls, Absent) else controls.get(BLANK))


def _control(
    control: tuple[str, str],
    resolution: int,
    context: Context,
    controls: Controls,
    direction: str | None,
    *,
    datasets: Sequence[str],
    metrics: Sequence[str],
) -> TableRow:
    """Assemble a control row (its name and title): it has one value and no seeds."""
    name, title = control
    cells: list[Cell] = []
    for dataset in datasets:
        scores = controls.get((dataset, resolution, direction), Absent(MISSING))
        for metric in metrics:
            if isinstance(scores, Absent):
                cells.append(Cell(dataset=dataset, metric=metric, absent=(scores.reason,)))
            elif name not in scores:
                cells.append(Cell(dataset=dataset, metric=metric, absent=(MISSING,)))
            else:
                cells.append(_cell(dataset, metric, {0: scores[name]}, ()))
    return TableRow(
        kind="control",
        label=title,
        resolution=resolution,
        actual_resolution=context.resolutions.get(resolution),
        cells=tuple(cells),
    )


def _by_seed(
    evaluations: Sequence[Scores | Absent], seeds: Sequence[int], where: str
) -> tuple[dict[int, Mapping[str, Mapping[str, Any]]], tuple[str, ...]]:
    """Return the values by seed, sorted, and a sentence for all that is absent."""
    given = sorted(item.seed for item in evaluations if item.seed is not None)
    if len(set(given)) < len(given) or not set(given) <= set(seeds):
        raise ValueError(f"{where}: evaluations of the seeds {given}, but the seeds are {list(seeds)}")
    scores = {item.seed: item.values for item in evaluations if isinstance(item, Scores)}
    general = {item.reason for item in evaluations if isinstance(item, Absent) and item.seed is None}
    if general:
        return dict(sorted(scores.items())), tuple(sorted(general))
    reasons = {item.seed: item.reason for item in evaluations if isinstance(item, Absent)}
    absent = {seed: reasons.get(seed, MISSING) for seed in sorted(seeds) if seed not in scores}
    return dict(sorted(scores.items())), _sentences(absent, seeds)


def _sentences(absent: Mapping[int, str], seeds: Sequence[int]) -> tuple[str, ...]:
    """Write reasons by seed; one reason for all seeds is written once and without them."""
    if absent and set(absent) == set(seeds) and len(set(absent.values())) == 1:
        return (next(iter(absent.values())),)
    return tuple(f"seed {seed}: {reason}" for seed, reason in sorted(absent.items()))


def _cell(
    dataset: str,
    metric: str,
    scores: Mapping[int, Mapping[str, Mapping[str, Any]]],
    absent: tuple[str, ...],
    learning: Learning | None = None,
) -> Cell:
    """Make one cell from the entries of its metric; whatever is not a finite number becomes a reason."""
    entries = {seed: values.get(metric) for seed, values in scores.items()}
    numbers = {seed: _number(entry) for seed, entry in entries.items()}
    finite = {seed: number for seed, number in numbers.items() if not isinstance(number, str)}
    refused = {seed: number for seed, number in numbers.items() if isinstance(number, str)}
    used = [entries[seed] or {} for seed in finite]
    values = tuple(finite.values())
    interval = mean_interval(values)
    return Cell(
        dataset=dataset,
        metric=metric,
        seeds=tuple(finite),
        values=values,
        mean=mean(values) if values else None,
        interval=None if interval is None else (interval.low, interval.high),
        standard_error=_standard_error(used),
        real=_counts(used, "n_real"),
        generated=_counts(used, "n_generated"),
        classes=_counts(used, "classes"),
        absent=(*absent, *_sentences(refused, tuple(scores))),
        learning=learning,
    )


def _number(entry: Mapping[str, Any] | None) -> float | str:
    """Return an entry's value as a finite number, or why it is none."""
    if entry is None:
        return "not computed: the evaluation has no such metric"
    value = entry.get("value")
    if value is None:
        return f"not available: {entry.get('reason') or 'no reason was recorded'}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return "not available: the value is not a finite number"
    return float(value)


def _standard_error(entries: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the root mean square of the entries' standard errors; None unless each has one."""
    errors = [entry.get("standard_error") for entry in entries]
    numbers = [float(error) for error in errors if isinstance(error, int | float) and abs(error) < LARGEST]
    if not numbers or len(numbers) < len(errors):
        return None
    return math.sqrt(math.fsum(number**2 for number in numbers) / len(numbers))


def _counts(entries: Sequence[Mapping[str, Any]], key: str) -> tuple[int, ...]:
    """Return the different counts under `key`, ascending."""
    return tuple(sorted({entry[key] for entry in entries if isinstance(entry.get(key), int)}))
