"""The commands about the embedded data."""

from pathlib import Path
from typing import Annotated

import typer

from kdx2i.cli.app import app
from kdx2i.config import find_root

data_app = typer.Typer(help="The embedded data.", no_args_is_help=True)
app.add_typer(data_app, name="data")


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
