"""From a number in a table to its command, inputs, seed, log and images."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from kdx2i.config import listed
from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.inspection.show_students import files_that_are_there, lines_of_run
from kdx2i.plan import CellPlan, Leaf, Plan
from kdx2i.provenance import problem
from kdx2i.tables.assemble import direction_of
from kdx2i.tables.gather import control_entries
from kdx2i.tables.learning import BLANK, NOT_LEARNED, Learning, judge_learning


def find_cells(plan: Plan, table: str, words: str) -> list[CellPlan]:
    """Return the cells whose key `part/label/dataset` has every word of `words` (split at `/`) as a part.

    No cell raises `UserError` with the keys that there are.
    """
    cells = plan.table(table).cells
    asked = [word.strip().casefold() for word in words.split("/") if word.strip()]
    matching = [cell for cell in cells if all(word in _words(cell) for word in asked)]
    if not matching:
        keys = listed(cell.key for cell in cells)
        raise UserError(f"{table} has no cell `{words}`; its cells are {keys}", whole=True)
    return matching


def _words(cell: CellPlan) -> set[str]:
    names = {cell.part, cell.row.label, cell.dataset, cell.actual_dataset or "", *cell.key.split("/")}
    return {name.casefold() for name in names}


def show(plan: Plan, table: str, words: str, console: Console) -> None:
    """Print where the numbers of the matching cells come from."""
    for cell in find_cells(plan, table, words):
        console.print(f"[bold]{escape(table)} {escape(cell.key)}[/bold]", highlight=False)
        if cell.reason is not None:
            console.print(f"  {escape(cell.reason)}", highlight=False)
        judged = _learning(plan, table, cell)
        if judged is not None:
            verdict = "learned" if judged.learned else NOT_LEARNED
            console.print(escape(f"  {verdict}: {judged.sentence}"), highlight=False)
        for leaf in cell.leaves:
            _show_evaluation(plan, table, leaf, console)


def as_document(plan: Plan, table: str, words: str) -> dict[str, Any]:
    """Return the same as JSON: each matching cell, its evaluations with values, and what those are made from."""
    cells = [
        {
            "cell": cell.key,
            "reason": cell.reason,
            "learning": None if (judged := _learning(plan, table, cell)) is None else judged.model_dump(mode="json"),
            "evaluations": [_evaluation_document(plan, leaf) for leaf in cell.leaves],
        }
        for cell in find_cells(plan, table, words)
    ]
    return {"format": "kdx2i-show-1", "preset": plan.preset.name, "table": table, "cells": cells}


def _evaluation_document(plan: Plan, leaf: Leaf[Any]) -> dict[str, Any]:
    """Return one evaluation; `problem` is None where it is current, and only then it has values."""
    wrong = problem(leaf)
    document = read_document(leaf.file("metrics.json")) if wrong is None else {}
    places = {"images": leaf.directory / "samples.png", "log": leaf.inputs["run"].directory / "log.jsonl"}
    return {
        "seed": leaf.spec.seed,
        "problem": None if wrong is None else wrong.sentence,
        "values": document.get("values", {}),
        "untrained": document.get("untrained", {}),
        "identity": leaf.identity,
        "command": plan.command(leaf),
        **{name: path.as_posix() for name, path in places.items() if (plan.root / path).is_file()},
        "made_from": [
            {"result": upstream.name, "identity": upstream.identity, "command": plan.command(upstream)}
            for upstream in leaf.upstream()
            if upstream is not leaf
        ],
    }


def _learning(plan: Plan, table: str, cell: CellPlan) -> Learning | None:
    """Return how a cell's current evaluations stand to their untrained networks and to blank images."""
    documents = [read_document(leaf.file("metrics.json")) for leaf in cell.leaves if problem(leaf) is None]
    controls = plan.table(table).controls.get((cell.dataset, cell.resolution))
    of_controls: Mapping[str, Any] = {}
    if controls is not None and problem(controls) is None:
        of_controls = control_entries(read_document(controls.file("metrics.json")), direction_of(cell.mode))
    scored = [(document.get("values", {}), document.get("untrained", {})) for document in documents]
    return judge_learning(scored, of_controls.get(BLANK))


def _show_evaluation(plan: Plan, table: str, leaf: Leaf[Any], console: Console) -> None:
    """Print one evaluation and everything that it is made from; files are named where they are."""
    wrong = problem(leaf)
    state = "current" if wrong is None else wrong.sentence
    lines = [f"seed {leaf.spec.seed}: {state}"]
    if wrong is None:
        document = read_document(leaf.file("metrics.json"))
        lines += [f"  {name} = {entry.get('value')}{_counts(entry)}" for name, entry in document["values"].items()]
        untrained = document.get("untrained", {})
        lines += [f"  {name} = {entry.get('value')} before the first update" for name, entry in untrained.items()]
    else:
        lines += _instead(plan, table, leaf)
    run = leaf.inputs["run"]
    lines += [
        f"  identity  {leaf.identity}",
        f"  command   {shlex.join(plan.command(leaf))}",
        *files_that_are_there(
            plan.root,
            images=leaf.directory / "samples.png",
            log=run.directory / "log.jsonl",
            training=run.directory / "samples.png",
        ),
        *[f"  {line}" for line in lines_of_run(run)],
        "  made from",
    ]
    for upstream in leaf.upstream():
        if upstream is not leaf:
            status = problem(upstream, checksums=False)
            mark = "current" if status is None else status.kind
            lines.append(f"    {upstream.identity[:12]}  {mark:8}{shlex.join(plan.command(upstream))}")
    console.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)


def _instead(plan: Plan, table: str, leaf: Leaf[Any]) -> list[str]:
    """Return what makes an evaluation that is not current here, and what the committed reference has of it."""
    preset = "" if plan.preset.name == "open" else f" --config preset={shlex.quote(plan.preset_argument)}"
    lines = [f"  to make   snakemake {table}{preset}"]
    place = Path("results") / "reference" / plan.preset.name / leaf.directory.relative_to(plan.results)
    if not (plan.root / place / "metrics.json").is_file():
        return lines
    record = read_document(plan.root / place / leaf.provenance)
    same = isinstance(record, dict) and record.get("identity") == leaf.identity
    lines.append(f"  reference {place}{'' if same else ', made by other code or settings'}")
    values = read_document(plan.root / place / "metrics.json").get("values", {})
    return lines + [f"    {name} = {entry.get('value')}{_counts(entry)}" for name, entry in values.items()]


def _counts(entry: dict[str, object]) -> str:
    counts = [
        f"{entry[key]} {word}" for key, word in (("n_real", "real"), ("n_generated", "generated")) if key in entry
    ]
    return f"  ({', '.join(counts)})" if counts else ""
