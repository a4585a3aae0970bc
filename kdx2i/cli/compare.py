"""The command `compare`: tables beside the published numbers, or beside a reference."""

from pathlib import Path
from typing import Annotated

import typer

from kdx2i.cli.app import app
from kdx2i.cli.locking import making
from kdx2i.cli.machine_output import Json, reporting
from kdx2i.cli.options import Preset, Seeds, Tables, asked_plan
from kdx2i.errors import UserError
from kdx2i.plan import Plan


@app.command()
def compare(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    expect: Annotated[Path | None, typer.Option(help="YAML file of expectations; 1 if one fails.")] = None,
    infer_protocol: Annotated[
        bool,
        typer.Option("--infer-protocol", help="Say which registered protocol best explains the published numbers."),
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option("--with", help="Folder of a reference, e.g. results/reference/open; 1 if the run does not agree."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every cell, not only what matters first.")] = False,
    json: Json = None,
) -> None:
    """Compare tables (default: all that are current) with the published numbers, or with a reference."""
    plan = asked_plan(preset, seeds)
    if reference is not None and (expect is not None or infer_protocol):
        raise UserError("--with compares with a reference: use --expect and --infer-protocol without it")
    if infer_protocol and expect is not None:
        raise UserError("--expect belongs to the comparison of tables, not to --infer-protocol: use one of them")
    with reporting(json) as report:
        if reference is not None:
            report.document, passed = _with_reference(plan, reference, names or [], every)
        elif infer_protocol:
            report.document, passed = _inferred(plan, names or []), True
        else:
            report.document, passed = _with_published(plan, names or [], expect, every)
    if not passed:
        raise typer.Exit(1)


def _with_published(plan: Plan, names: list[str], expect: Path | None, every: bool) -> tuple[object, bool]:
    """Compare tables with the published numbers; return the comparison as JSON, and whether no expectation failed."""
    from kdx2i.stages.compare import current_tables
    from kdx2i.stages.compare import run as make
    from kdx2i.tables.comparison import as_document

    leaf = plan.comparison(names or current_tables(plan))
    with making(leaf):
        comparison, failed = make(plan, leaf, expectations=expect, every=every)
    return {**as_document(comparison), "failed": [vars(failure) for failure in failed]}, not failed


def _with_reference(plan: Plan, folder: Path, names: list[str], every: bool) -> tuple[object, bool]:
    """Compare a run with a reference; return the agreement as JSON, and whether it agrees."""
    from kdx2i.stages.agree import show
    from kdx2i.tables.agreement_text import as_document

    outcome = show(plan, folder, names, every=every)
    return as_document(outcome.agreement, outcome.name), outcome.agreement.agrees


def _inferred(plan: Plan, names: list[str]) -> object:
    """Say which protocol explains the published numbers of each table best; return the conclusions as JSON."""
    from kdx2i.stages.compare import current_tables
    from kdx2i.stages.infer import as_document, show

    return as_document([show(plan, name) for name in names or current_tables(plan)])
