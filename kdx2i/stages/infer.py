"""From the evaluations of a table under every registered protocol to the one that explains the printed numbers."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.metrics.protocols import by_choices, protocol_name, protocols, under
from kdx2i.plan import Leaf, Plan
from kdx2i.stages.console import screen
from kdx2i.tables.assemble import LARGEST, Absent
from kdx2i.tables.gather import build_table
from kdx2i.tables.inference import Inference, Observed, infer
from kdx2i.tables.inference_screen import print_inference
from kdx2i.tables.learning import NOT_LEARNED
from kdx2i.tables.published import CellName, read_published

FORMAT = "kdx2i-protocols-2"
JSON_FORMAT = "kdx2i-inference-1"
FILE = "protocols.json"


@dataclass(frozen=True)
class Conclusion:
    """An inference and what bounds it.

    `conditions`: why nothing follows for the paper (its data or training are not those of the runs), empty where
    they are. `absent`: the evaluations without values under the protocols, each with the reason. `not_computed`:
    why an extractor has no values.
    """

    inference: Inference
    conditions: tuple[str, ...]
    absent: dict[str, str]
    not_computed: dict[str, str]


def run(plan: Plan, table: str) -> Conclusion:
    """Infer the protocol of a table from the `protocols.json` of its evaluations.

    Evaluations that lack the file, or whose file belongs to another state of the run, are named; when none has
    it, `UserError` gives the command that makes the first.
    """
    published = read_published(plan.root, table)
    planned = plan.table(table)
    absent: dict[str, str] = {}
    not_computed: dict[str, str] = {}
    metrics = sorted({name.metric for name in published})
    names = {protocol_name(protocol): protocol for protocol in protocols(metrics)}
    observed: dict[str, dict[CellName, Observed]] = {name: {} for name in names}
    unlearned = _unlearned(plan, table)
    for cell in planned.cells:
        if cell.key in unlearned:
            absent |= {leaf.name: f"{NOT_LEARNED}: {unlearned[cell.key]}" for leaf in cell.leaves}
            continue
        documents = []
        for leaf in cell.leaves:
            document = _read(leaf)
            if isinstance(document, str):
                absent[leaf.name] = document
            else:
                documents.append(by_choices(document["measurements"]))
                not_computed |= document["not_computed"]
        for name, protocol in names.items():
            entries = [under(protocol, document) for document in documents]
            for metric in metrics:
                seen = _observed([entry[metric] for entry in entries if metric in entry])
                if seen is not None:
                    observed[name][CellName(cell.part, cell.dataset, cell.row.label, metric)] = seen
    leaves = [leaf for cell in planned.cells for leaf in cell.leaves]
    if len(absent) == len({leaf.name for leaf in leaves}):
        raise UserError(_nothing(plan, table, leaves, absent))
    # Protocols of an extractor that was never computed are no candidates; the reason is kept once.
    candidates = {
        name: cells for name, cells in observed.items() if cells or names[name].get("extractor") not in not_computed
    }
    return Conclusion(infer(table, candidates, published), _conditions(plan, table), absent, not_computed)


def _unlearned(plan: Plan, table: str) -> dict[str, str]:
    """Return the cells (`part/label/dataset`) whose row has not learned there, with the scores in words."""

    def read(leaf: Leaf[Any]) -> Mapping[str, Any] | Absent:
        path = leaf.file("metrics.json")
        document = read_document(path) if path.is_file() else {}
        same = isinstance(document, dict) and document.get("identity") == leaf.identity
        return document if same else Absent("not there, or not of today")

    return {
        f"{part.name}/{row.label}/{cell.dataset}": cell.learning.sentence
        for part in build_table(plan, table, read).parts
        for row in part.methods()
        for cell in row.cells
        if cell.learning is not None and not cell.learned
    }


def _read(leaf: Leaf[Any]) -> Any:
    """Return an evaluation's protocols.json, or the reason why it cannot be used."""
    path: Path = leaf.folder / FILE
    if not path.is_file():
        return "not scored under the protocols"
    document = read_document(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path} is not a file of `kdx2i evaluate --all-protocols`: delete it and make it again")
    if document.get("identity") != leaf.identity:
        return "scored under the protocols before something that it depends on changed"
    return document


def _observed(entries: Sequence[Any]) -> Observed | None:
    """Return the values of one cell over seeds, and the root mean square of their standard errors."""
    numbers = [entry for entry in entries if isinstance(entry.get("value"), int | float)]
    numbers = [entry for entry in numbers if abs(entry["value"]) < LARGEST]
    if not numbers:
        return None
    errors = [entry.get("standard_error") for entry in numbers]
    known = [float(error) for error in errors if error is not None]
    size = (sum(error**2 for error in known) / len(known)) ** 0.5 if len(known) == len(errors) else None
    return Observed(tuple(float(entry["value"]) for entry in numbers), size)


def _nothing(plan: Plan, table: str, leaves: Sequence[Leaf[Any]], absent: dict[str, str]) -> str:
    """Say that no evaluation can be used, and how to make the first."""
    if not leaves:
        return f"no cell of {table} has an evaluation under preset {plan.preset.name}: there is nothing to infer from"
    words = shlex.join([*plan.command(leaves[0]), "--all-protocols"])
    more = "" if len(absent) == 1 else f" (of {len(absent)} evaluations; `kdx2i show {table}` lists them)"
    return f"no evaluation of {table} is scored under the registered protocols: start with `{words}`{more}"


def _conditions(plan: Plan, table: str) -> tuple[str, ...]:
    """Return how the runs differ from the paper's in data, resolution, networks or training, each once."""
    built = build_table(plan, table, lambda leaf: Absent("not read"))
    runs = {(cell.part, cell.row.label, cell.dataset) for cell in plan.table(table).cells if cell.leaves}
    conditions: dict[str, None] = {}
    for part in built.parts:
        for row in part.methods():
            for dataset in part.datasets:
                if (part.name, row.label, dataset) not in runs:
                    continue
                for departure in built.departures(row, dataset):
                    if departure.kind in ("dataset", "resolution"):
                        conditions.setdefault(departure.text)
                    elif departure.kind == "budget" and row.budget is not None:
                        conditions.setdefault("the runs were trained for another number of iterations than the paper's")
                    elif departure.architecture is not None:
                        conditions.setdefault(f"{departure.architecture} is set otherwise than in the paper's preset")
    return tuple(conditions)


def show(plan: Plan, table: str) -> Conclusion:
    """Infer the protocol of a table, print the conclusion and return it."""
    conclusion = run(plan, table)
    print_inference(
        conclusion.inference,
        screen(),
        conditions=conclusion.conditions,
        absent=conclusion.absent,
        not_computed=conclusion.not_computed,
    )
    return conclusion


def as_document(conclusions: Iterable[Conclusion]) -> dict[str, Any]:
    """Return the conclusions of tables as JSON: each ranking, and what bounds it."""
    tables = [
        {
            **conclusion.inference.model_dump(mode="json"),
            "conditions": list(conclusion.conditions),
            "absent": conclusion.absent,
            "not_computed": conclusion.not_computed,
        }
        for conclusion in conclusions
    ]
    return {"format": JSON_FORMAT, "tables": tables}
