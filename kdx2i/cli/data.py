"""The commands about what a preset needs from outside, and about the embedded data."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kdx2i.cli.app import app
from kdx2i.cli.options import Preset, Seeds, Tables, asked_plan
from kdx2i.config import find_root
from kdx2i.identity import large_files_unread

data_app = typer.Typer(help="What a preset needs from outside, and the embedded data.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("status")
def status(names: Tables = None, preset: Preset = "open", seeds: Seeds = "") -> None:
    """List the data, weights, metric networks and GPUs that tables need from outside; 1 while something is missing.

    It reads no large file: what no command has read yet is `unread`, its checksum not known.
    """
    from rich.table import Table

    from kdx2i.inspection.preflight import free_bytes, needs
    from kdx2i.stages.console import screen

    with large_files_unread():
        plan = asked_plan(preset, seeds)
        listed = needs(plan, names or plan.tables)
    table = Table(title=f"What preset {preset} needs", title_justify="left", show_lines=False)
    for heading in ("", "kind", "what", "MiB", "wanted by", "how to get it"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "MiB" else "left")
    for need in listed:
        size = f"{need.size / 2**20:,.0f}" if need.size is not None else ""
        state = ("there" if need.read else "unread") if need.there else "missing"
        row = (state, need.kind, need.name, size, ", ".join(need.wanted_by), need.advice)
        table.add_row(*map(escape, row), style="" if need.there else "yellow")
    console = screen()
    console.print(table)
    missing, unread = sum(not need.there for need in listed), sum(not need.read for need in listed)
    free = free_bytes(plan.root) / 2**30
    console.print(
        f"{missing} of {len(listed)} missing; {free:,.0f} GiB free where results are written", highlight=False
    )
    if unread:
        console.print(
            f"{unread} not yet verified: the first command that makes something reads them once, and their checksums "
            "are part of every result",
            highlight=False,
        )
    if missing:
        raise typer.Exit(1)


@data_app.command("track")
def track(names: Tables = None, preset: Preset = "paper") -> None:
    """Give DVC the archives, weights and splits of archives that tables read and that are here (`dvc add`)."""
    from kdx2i.inspection.track import track as give

    plan = asked_plan(preset)
    paths = give(plan, names or plan.tables)
    for path in paths:
        print(f"{path}.dvc")
    print(f"{len(paths)} kept by DVC: commit these .dvc files, then `dvc push`")


@data_app.command("rebuild-pack")
def rebuild_pack(
    out: Annotated[Path, typer.Option(help="Folder for the rebuilt pack.")],
    packages: Annotated[
        Path | None, typer.Option(help="Folder with the npm packages; they are fetched into it (default: OUT).")
    ] = None,
) -> None:
    """Rebuild the pack of drawings from the published npm packages and compare it with the shipped one."""
    from kdx2i.data import rebuild

    source = find_root() / "benchmarks" / "datasets" / "open_emoji"
    places = rebuild.download_packages(source / rebuild.PACKAGES, packages or out / "packages")
    reports = rebuild.rebuild_pack(places, source / "manifest.csv", out)
    for report in reports:
        outcome = "identical" if report.identical else f"{len(report.differing)} differ ({report.differing[0]}, ...)"
        print(f"{report.file}: {report.drawings} drawings, {outcome}")
    if not all(report.identical for report in reports):
        raise typer.Exit(1)
