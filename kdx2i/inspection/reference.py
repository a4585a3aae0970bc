"""Reference results: tables, the evidence behind them and their spread, under `results/reference/<name>/`."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdx2i.config import listed
from kdx2i.errors import UserError
from kdx2i.files import write_bytes
from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import EVALUATION, RUN, SPLIT, TABLE
from kdx2i.provenance import machine_of, problem, require_current
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.replicates import FILE, Replicate, read_replicates, replicates_of, write_replicates


def export(
    plan: Plan,
    tables: Sequence[str],
    name: str,
    *,
    samples: bool = True,
    also: Sequence[Path] = (),
    add: bool = False,
) -> Path:
    """Copy current tables, their leaves' metrics, logs and provenance, and return the folder.

    The table of stage 1 is copied with them where it has been made.

    `samples` keeps the first seed's sample grids. Every leaf must be current. An older export of that name is
    replaced as a whole, or with `add` keeps what this one does not bring. `also` are further results folders, laid
    out as `results/<preset>` and made by the same code on other machines or with other instruction sets, of any
    seeds: only their tables' values are kept, in `spread.csv`.
    """
    rendered: list[Leaf[Any]] = [plan.rendered(table) for table in tables]
    measures = plan.stage1_if_any()
    if measures is not None and measures.provenance_path.is_file():
        rendered.append(measures)
    leaves = {leaf.name: leaf for table in rendered for leaf in table.upstream()}
    require_current(leaves.values())
    spread = spread_of(plan, tables, [plan.root / plan.results, *also])
    target = plan.root / "results" / "reference" / name
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    if add and target.is_dir():
        shutil.copytree(target, fresh)
        kept = read_replicates(target / FILE) if (target / FILE).is_file() else []
        spread = [*(item for item in kept if item.cell.table not in tables), *spread]
    for leaf in leaves.values():
        if leaf.kind is SPLIT:
            continue
        place = fresh / leaf.directory.relative_to(plan.results)
        first = leaf.kind.first_seed if samples and leaf.address.get("seed") == plan.seeds[0] else ()
        names = [output for output in leaf.outputs if output in (*leaf.kind.evidence, *first) or leaf.kind is TABLE]
        for output in [*names, leaf.provenance]:
            write_bytes(place / output, leaf.file(output).read_bytes())
    write_replicates(fresh / FILE, spread)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return target


def spread_of(plan: Plan, tables: Sequence[str], folders: Sequence[Path]) -> list[Replicate]:
    """Return the values of tables in several results folders, by seed and machine.

    A folder whose table is missing, or not what the plan wants for the seeds that it states, raises `UserError`, and
    so do two folders of one machine: the second would say nothing of the spread.
    """
    machines: dict[tuple[str, str], Path] = {}
    replicates: list[Replicate] = []
    for folder in folders:
        for table in tables:
            leaf = _table_in(plan, folder, table)
            machine = _machine_behind(plan, leaf, folder, alone=len(folders) == 1)
            if (table, machine) in machines:
                raise UserError(
                    f"{table} in {machines[table, machine]} and in {folder} was made on one machine ({machine}): "
                    "another instruction set or machine is needed to see a spread"
                )
            machines[table, machine] = folder
            replicates += replicates_of(load_table_json(leaf.file(f"{table}.json")), machine)
    return replicates


def _table_in(plan: Plan, folder: Path, table: str) -> Leaf[Any]:
    """Return a table's leaf as if it lay in another results folder, with the seeds that it states there; it is current.

    Where it lies has no part in its identity.
    """
    record = read_document(folder / "tables" / f"{table}.provenance.json")
    seeds = record.get("spec", {}).get("seeds", []) if isinstance(record, dict) else []
    planned = plan if tuple(seeds) == plan.seeds else plan.for_preset(plan.preset_argument, seeds)
    leaf = planned.rendered(table)
    if folder.resolve() == plan.root / plan.results:
        require_current([leaf])
        return leaf
    leaf = replace(leaf, results=folder.resolve())
    # What the plan has of its own at the addresses of the leaf's inputs are other results than it was made from.
    fault = problem(leaf, sources=False)
    if fault is not None:
        raise UserError(f"{fault.sentence}; a folder of `--also` needs whole tables of the same code and settings")
    return leaf


def _machine_behind(plan: Plan, table: Leaf[Any], folder: Path, *, alone: bool) -> str:
    """Return the machine that trained and scored what is behind a table.

    Results of several machines are one column where the folder stands `alone`, and raise `UserError` beside others.
    """
    found: dict[str, None] = {}
    for leaf in table.upstream():
        if leaf.kind in (RUN, EVALUATION):
            record = read_document(folder / leaf.directory.relative_to(plan.results) / leaf.provenance)
            if record.get("identity") != leaf.identity:
                raise UserError(f"{folder} holds another {leaf.name} than its table was made from")
            found.setdefault(machine_of(record))
    if len(found) > 1 and not alone:
        machines = listed(found)
        raise UserError(f"{folder} holds results of several machines ({machines}): their spread cannot be told apart")
    return " / ".join(found) or "unknown"
