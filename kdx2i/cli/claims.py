"""The command `claims`: what the numbers say of the paper's statements."""

from typing import Annotated

import typer

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.locking import making
from kdx2i.cli.machine_output import Json, reporting
from kdx2i.cli.options import Preset, Seeds, Tables, asked_plan
from kdx2i.config import find_root
from kdx2i.errors import UserError


@app.command()
def claims(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge the tables of a committed reference instead, e.g. open; repeatable, for tables of several.",
            autocompletion=completion.references,
        ),
    ] = None,
    json: Json = None,
) -> None:
    """Say of each claim of the paper whether tables (default: all that are current) support or contradict it."""
    from kdx2i.stages.claims import judged, reference_tables
    from kdx2i.stages.claims import run as make
    from kdx2i.stages.compare import current_tables
    from kdx2i.stages.console import terminal_screen
    from kdx2i.tables.claims_text import as_document, count_line, print_claims

    with reporting(json) as report:
        if reference:
            if names:
                raise UserError("--reference judges all tables of a reference: name no tables beside it")
            root, source = find_root(), f"reference {' and '.join(reference)}"
            verdicts = judged(root, reference_tables(root, reference))
        else:
            plan = asked_plan(preset, seeds)
            leaf = plan.claims(names or current_tables(plan))
            with making(leaf):
                verdicts = make(plan, leaf)
            source = f"preset {plan.preset.name}"
        console = terminal_screen()
        print_claims(verdicts, console, why=True)
        console.print(f"[bold]{len(verdicts)} claims[/bold] by {source}: {count_line(verdicts)}.", highlight=False)
        if not reference:
            console.print(f"{leaf.directory}/claims.md has every comparison.", highlight=False)
        report.document = as_document(verdicts, source)
