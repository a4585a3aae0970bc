"""From a run's tables and a reference's to how far they agree, and why they cannot be compared where they cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from kdx2i.config import listed
from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import EVALUATION, SPLIT
from kdx2i.plan.leaf import upstream_of
from kdx2i.provenance import made_otherwise, problem, require_current, split_behind
from kdx2i.stages.console import screen, terminal_screen
from kdx2i.tables.agreement import RunAgreement, agreement_of
from kdx2i.tables.agreement_text import basis_line, print_agreement, print_line, write_agreement
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.model import Table
from kdx2i.tables.replicates import FILE, Replicate, read_replicates, replicates_of


@dataclass(frozen=True)
class Outcome:
    """How a run agrees with a reference.

    `name` is the reference's folder, `notes` says what the band is made of, `other_code` is a sentence where the
    reference was made by other code than is here.
    """

    agreement: RunAgreement
    name: str
    notes: str
    other_code: str


def agree(plan: Plan, folder: Path, tables: Sequence[str] = ()) -> Outcome:
    """Set the current tables of a plan's preset beside those of a reference.

    `tables`: those to compare (default: all that are current here and that the reference has). A reference that was
    made otherwise, or that records no spread, raises `UserError` with the reason.
    """
    name = _name(plan, folder)
    there = sorted(path.stem for path in (folder / "tables").glob("*.json") if ".provenance" not in path.name)
    if not there:
        raise UserError(f"{name} is no reference: it has no tables")
    for asked in tables:
        if asked not in there:
            raise UserError(f"{name} has no table `{asked}`; it has {listed(there)}")
    names = list(tables) or [t for t in there if t in plan.tables and problem(plan.rendered(t)) is None]
    if not names:
        raise UserError(f"none of the tables of {name} ({listed(there)}) is current here: make one with `snakemake`")
    require_current([plan.rendered(table) for table in names])
    own = [load_table_json(plan.rendered(table).file(f"{table}.json")) for table in names]
    theirs = [load_table_json(folder / "tables" / f"{table}.json") for table in names]
    for run, reference in zip(own, theirs, strict=True):
        _check_comparable(plan, folder, name, run, reference)
    replicates = _recorded(folder, theirs)
    machines, seeds = {item.machine for item in replicates}, {item.seed for item in replicates}
    agreement = agreement_of(own, theirs, replicates)
    if agreement.count("no spread"):
        raise UserError(
            f"{name} holds one seed from one machine, so it records no spread to judge a run by; `kdx2i reference` "
            "with `--seeds 0,1,2` and `--also FOLDER` makes one that does"
        )
    notes, other_code = basis_line(agreement, len(machines), len(seeds)), _other_code(plan, folder, theirs)
    return Outcome(agreement, name, f"{notes} {other_code}".rstrip(), other_code)


def _name(plan: Plan, folder: Path) -> str:
    """Return a reference's folder for people: relative to the repository where it lies in it."""
    place = folder.resolve()
    return place.relative_to(plan.root).as_posix() if place.is_relative_to(plan.root) else str(folder)


def _recorded(folder: Path, tables: Sequence[Table]) -> list[Replicate]:
    """Return a reference's values by seed and machine; without a record of its spread those of its own tables."""
    if not (folder / FILE).is_file():
        return [item for table in tables for item in replicates_of(table, "")]
    names = {table.name for table in tables}
    return [item for item in read_replicates(folder / FILE) if item.cell.table in names]


def _check_comparable(plan: Plan, folder: Path, name: str, run: Table, reference: Table) -> None:
    """Raise `UserError` where a reference has another preset, features, budget, settings or files than the run."""
    here, there = run.context, reference.context
    why = None
    if here.preset != there.preset:
        why = f"it is of preset {there.preset}, and the run of {here.preset}"
    elif (here.extractor, here.preprocessing) != (there.extractor, there.preprocessing):
        why = (
            f"it was scored by features of {there.extractor} ({there.preprocessing}), and the run by those of "
            f"{here.extractor} ({here.preprocessing})"
        )
    else:
        why = _other_budget(run, reference) or other_origin(plan, folder, reference)
    if why is not None:
        raise UserError(f"{run.name} cannot be compared with {name}: {why}")


def _other_budget(run: Table, reference: Table) -> str | None:
    """Return which row was trained for another number of updates, if one was."""
    budgets = {(part.name, row.label): row.budget for part in reference.parts for row in part.methods()}
    for part in run.parts:
        for row in part.methods():
            if budgets.get((part.name, row.label), row.budget) != row.budget:
                return f"{row.label} has another budget there"
    return None


def other_origin(plan: Plan, folder: Path, reference: Table) -> str | None:
    """Return the first thing behind a reference's table that has other settings or files than the plan, and which.

    Code, the settings that came or went with it and the way tables are written play no part: whether a change of code
    moved the numbers is what a comparison is asked for.
    """
    for leaf in upstream_of(_evaluations(plan, reference)):
        if leaf.kind is SPLIT:  # not copied into a reference; what is made from it states its checksum
            continue
        record = _record_of(plan, folder, leaf)
        if record is None:
            return f"it has no {leaf.name}"
        otherwise = made_otherwise(leaf, record, shared=True)
        if otherwise is not None:
            return f"{leaf.name} is another there: {otherwise}"
        if split_behind(leaf) not in (None, record.get("split_sha256")):
            return f"{leaf.name} is another there: it was made from another split"
    return None


def _other_code(plan: Plan, folder: Path, references: Sequence[Table]) -> str:
    """Return a sentence for a reference whose numbers come from other code than is here, or nothing."""
    for leaf in (leaf for table in references for leaf in _evaluations(plan, table)):
        record = _record_of(plan, folder, leaf)
        if record is not None and record.get("identity") != leaf.identity:
            commit = str(record.get("git_commit") or "unknown")[:12]
            return f"The reference was made by other code (commit {commit}), with the same settings and files."
    return ""


def _evaluations(plan: Plan, reference: Table) -> list[Leaf[Any]]:
    """Return the evaluations that the plan would make for a reference's table and seeds."""
    seeds = reference.context.seeds
    planned = plan if seeds == plan.seeds else plan.for_preset(plan.preset_argument, seeds)
    return [leaf for leaf in planned.table(reference.name).leaves if leaf.kind is EVALUATION]


def _record_of(plan: Plan, folder: Path, leaf: Leaf[Any]) -> dict[str, Any] | None:
    """Return the provenance of a leaf in a reference, None where there is none."""
    path = folder / leaf.directory.relative_to(plan.results) / leaf.provenance
    record = read_document(path) if path.is_file() else None
    return record if isinstance(record, dict) else None


def show(plan: Plan, folder: Path, tables: Sequence[str], *, every: bool = False) -> Outcome:
    """Print a run's agreement with a reference (`every`: each cell), write it beside the comparison, and return it."""
    outcome = agree(plan, folder, tables)
    write_agreement(outcome.agreement, outcome.name, outcome.notes, plan.root / plan.results)
    console = screen() if every else terminal_screen()
    print_agreement(outcome.agreement, outcome.name, outcome.notes, console, every=every)
    return outcome


def line(plan: Plan, table: str, console: Console, *, named: bool) -> None:
    """Print the one line of a table, where a reference of the preset's name is committed; a reason is no failure.

    `named`: it says which table it is about.
    """
    folder = plan.root / "results" / "reference" / plan.preset.name
    if not (folder / "tables" / f"{table}.json").is_file():
        return
    try:
        outcome = agree(plan, folder, [table])
    except UserError as error:
        console.print(escape(f"Agreement: {error}."), style="yellow", highlight=False)
        return
    print_line(outcome.agreement, f"{outcome.name}, {table}" if named else outcome.name, console)
    if outcome.other_code and not outcome.agreement.agrees:
        console.print(escape(outcome.other_code), style="dim", highlight=False)
