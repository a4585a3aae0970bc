"""From a plan to the arguments of `assemble`: which files stand behind which cell."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdx2i.plan import Leaf, Plan, TablePlan
from kdx2i.tables.assemble import (
    Absent,
    Budgets,
    Controls,
    EvaluationKey,
    Evaluations,
    MethodKey,
    Scores,
    assemble,
    direction_of,
)
from kdx2i.tables.context import context
from kdx2i.tables.model import Budget, Table, TableRow, TeacherNote
from kdx2i.tables.stage1 import stage1_mark

# A leaf's metrics.json, or why it may not be used (`stale`, `missing`).
Reader = Callable[[Leaf[Any]], Mapping[str, Any] | Absent]


def build_table(plan: Plan, name: str, read: Reader, teachers: tuple[TeacherNote, ...] = ()) -> Table:
    """Assemble the table `name` of a plan, with notes on what teachers have seen.

    `read` returns the metrics.json of a leaf or `Absent`: it decides what is missing or stale.
    """
    table = plan.table(name)
    evaluations = gather_evaluations(table, read)
    rows = assemble(table.config, context(plan), evaluations, gather_controls(table, read), budgets(table))
    return with_students(rows, gather_students(table, read)).model_copy(update={"teachers": teachers})


def gather_students(table: TablePlan, read: Reader) -> Mapping[MethodKey, str]:
    """Return, for each method whose student has not been distilled, the words that say so (`TableRow.stage1`)."""
    runs: dict[MethodKey, dict[str, Leaf[Any]]] = {}
    for cell in table.cells:
        key = MethodKey(cell.row.architecture, cell.row.transfer, cell.resolution)
        runs.setdefault(key, {}).update({leaf.inputs["run"].name: leaf.inputs["run"] for leaf in cell.leaves})
    marks = {key: stage1_mark(of_method.values(), read) for key, of_method in runs.items()}
    return {key: mark for key, mark in marks.items() if mark}


def with_students(table: Table, marks: Mapping[MethodKey, str]) -> Table:
    """Return a table whose rows say what is to be known of their students."""

    def row_of(row: TableRow) -> TableRow:
        mark = marks.get(MethodKey(row.architecture or "", row.transfer or "", row.resolution), "")
        return row.model_copy(update={"stage1": mark})

    parts = [part.model_copy(update={"rows": tuple(map(row_of, part.rows))}) for part in table.parts]
    return table.model_copy(update={"parts": tuple(parts)})


def gather_evaluations(table: TablePlan, read: Reader) -> Evaluations:
    """Read the evaluations of every cell; a cell without leaves keeps the plan's reason."""
    evaluations: dict[EvaluationKey, Sequence[Scores | Absent]] = {}
    for cell in table.cells:
        row = cell.row
        key = EvaluationKey(cell.dataset, row.architecture, row.transfer, cell.resolution, cell.mode)
        if cell.reason is not None:
            evaluations[key] = (Absent(cell.reason),)
        else:
            evaluations[key] = tuple(_scores(leaf, read(leaf)) for leaf in cell.leaves)
    return evaluations


def _scores(leaf: Leaf[Any], data: Mapping[str, Any] | Absent) -> Scores | Absent:
    """Return one evaluation with the seed of its leaf."""
    seed = int(leaf.spec.seed)
    if isinstance(data, Absent):
        return Absent(data.reason, seed)
    values = data.get("values")
    if not isinstance(values, Mapping):
        return Absent("missing: its metrics.json has no values", seed)
    untrained = data.get("untrained")
    return Scores(seed, _entries(values), _entries(untrained) if isinstance(untrained, Mapping) else {})


def gather_controls(table: TablePlan, read: Reader) -> Controls:
    """Read the control values by the paper's dataset, resolution and direction; those of no leaf say so."""
    scores: dict[tuple[str, int, str | None], Mapping[str, Mapping[str, Mapping[str, Any]]] | Absent] = {}
    for cell in table.cells:
        direction = direction_of(cell.mode)
        key = (cell.dataset, cell.resolution, direction)
        leaf = table.controls.get((cell.dataset, cell.resolution))
        if leaf is None:
            scores.setdefault(key, Absent("not yet computed: no method of the table runs on this dataset"))
            continue
        data = read(leaf)
        if isinstance(data, Absent):
            scores[key] = data
            continue
        scores[key] = control_entries(data, direction)
    return scores


def control_entries(data: Mapping[str, Any], direction: str | None) -> dict[str, Mapping[str, Mapping[str, Any]]]:
    """Return {control: {metric: entry}} of a controls' metrics.json: for all classes, or for one direction."""
    values = data.get("values", {}) if direction is None else data.get("directions", {}).get(direction, {})
    return {name: _entries(entries) for name, entries in values.items() if isinstance(entries, Mapping)}


def _entries(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Keep what looks like metric entries."""
    return {metric: entry for metric, entry in values.items() if isinstance(entry, Mapping)}


def budgets(table: TablePlan) -> Budgets:
    """Return the budget of each method that runs."""
    by_method: dict[MethodKey, Budget] = {}
    for line in table.budget:
        key = MethodKey(line.architecture, line.transfer, line.resolution)
        numbers = {field: value for field, value in line.as_dict().items() if field not in key._fields}
        by_method[key] = Budget.model_validate(numbers)
    return by_method
