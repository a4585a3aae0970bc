"""The command `ladder`: whether an extractor's distances put damaged real images in order of damage."""

from pathlib import Path
from typing import Annotated

import typer

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.options import Preset, asked_plan


@app.command()
def ladder(
    dataset: Annotated[
        list[str], typer.Option(help="Datasets, whose splits must be there.", autocompletion=completion.datasets)
    ],
    extractor: Annotated[str | None, typer.Option(help="Feature network (default: the preset's).")] = None,
    resolution: Annotated[list[int] | None, typer.Option(help="Pixels of a side (default: the preset's).")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of the feature network.")] = None,
    csv: Annotated[Path | None, typer.Option(help="File to write the values to.")] = None,
    plot: Annotated[Path | None, typer.Option(help="File to draw the values into (.svg or .png).")] = None,
    preset: Preset = "open",
) -> None:
    """Score real images under growing damage; 1 where a distance has them in another order, with the pairs."""
    from kdx2i.stages.ladder import LadderRequest, run

    plan = asked_plan(preset)
    request = LadderRequest(
        extractor=extractor or plan.evaluation_settings["extractor"],
        datasets=tuple(dataset),
        resolutions=tuple(resolution or plan.resolutions),
        weights=weights,
        csv=csv,
        plot=plot,
    )
    if not run(plan, request):
        raise typer.Exit(1)
