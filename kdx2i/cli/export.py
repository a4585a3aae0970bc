"""The command that exports a finished run in a form that others' tools read."""

from pathlib import Path
from typing import Annotated

import typer

from kdx2i.cli.app import app
from kdx2i.cli.options import Preset, Seeds, asked_plan
from kdx2i.config import find_root


@app.command()
def crate(
    output: Annotated[Path, typer.Argument(help="New folder of the crate.")],
    preset: Preset = "open",
    seeds: Seeds = "",
    reference: Annotated[
        str, typer.Option("--reference", help="Folder in results/reference instead of a preset's results.")
    ] = "",
) -> None:
    """Export a finished run as a Workflow Run RO-Crate: its tables with the evidence behind them."""
    from kdx2i.inspection.crate import write_crate
    from kdx2i.report.sources import Source, reference_sources

    if reference:
        print(write_crate(reference_sources(find_root(), [reference])[0], output))
        return
    from kdx2i.stages.compare import current_tables
    from kdx2i.stages.report import current_report

    plan = asked_plan(preset, seeds)
    shown = current_report(plan, current_tables(plan)).spec
    print(write_crate(Source(plan.root, plan.results, plan.preset_argument, shown.tables, shown.figures), output))
