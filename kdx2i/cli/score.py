"""The command `score`: any images against any others, without a preset or a run."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from kdx2i.cli.app import app
from kdx2i.cli.machine_output import STANDARD_OUTPUT, Json, people_on_standard_error
from kdx2i.cli.options import path_of
from kdx2i.data.image_kinds import Alpha
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS
from kdx2i.metrics.protocols import DIMENSIONS
from kdx2i.stages.folder_request import ScoreRequest, check, parse_metrics

_INPUTS = ", ".join(DIMENSIONS["preprocessing"])
_WORDS = ",".join(metric.word for metric in METRICS.values() if metric.word is not None)


class OneFolderEach(TyperCommand):
    """A command that refuses a second folder for a set: only the last would count, where both seem to."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; `UserError` names an option that is given twice."""
        given = [word.partition("=")[0] for word in args]
        for option in ("--generated", "--reference", "--labels"):
            if given.count(option) > 1:
                raise UserError(f"{option} is given twice, and takes one folder: put all files into it")
        return super().parse_args(ctx, args)


@app.command(cls=OneFolderEach)
def score(
    generated: Annotated[
        Path, typer.Option(parser=path_of("--generated"), help="Folder or zip: flat, or one sub-folder a class.")
    ],
    reference: Annotated[Path, typer.Option(parser=path_of("--reference"), help="Folder or zip of the real images.")],
    metrics: Annotated[
        list[str] | None, typer.Option(help=f"Of {_WORDS} (default: what the folders allow); repeatable.")
    ] = None,
    extractor: Annotated[str, typer.Option(help="Feature network.")] = "inception-v3-compat",
    preprocessing: Annotated[str, typer.Option(help=f"Resize and normalisation: {_INPUTS}.")] = "clean",
    input_size: Annotated[int | None, typer.Option(help="Pixels of a side that the network sees.")] = None,
    weights: Annotated[
        Path | None, typer.Option(parser=path_of("--weights"), help="Weights of the feature network.")
    ] = None,
    infinity: Annotated[bool, typer.Option("--infinity", help="Also FID extrapolated to infinite samples.")] = False,
    labels: Annotated[
        Path | None, typer.Option(parser=path_of("--labels"), help="Folder of label maps, for miou.")
    ] = None,
    segmenter: Annotated[
        Path | None, typer.Option(parser=path_of("--segmenter"), help="Segmentation network, for miou.")
    ] = None,
    label_order: Annotated[
        str, typer.Option(help="How label maps are numbered: segmenter, celebamask-hq or face-parsing.")
    ] = "segmenter",
    alpha: Annotated[
        Alpha, typer.Option(help="Transparency: laid on white, or dropped as clean-fid and torch-fidelity do.")
    ] = "white",
    device: Annotated[str | None, typer.Option(help="cpu or cuda (default: cuda where there is one).")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images that lpips and miou decode at a time.")] = 64,
    json: Json = None,
    all_protocols: Annotated[
        bool, typer.Option("--all-protocols", help="Score the same images under every registered protocol.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the metrics that draw subsets.")] = 0,
) -> None:
    """Score any images against others, with or without classes."""
    request = ScoreRequest(
        generated=generated,
        reference=reference,
        metrics=parse_metrics(metrics),
        extractor=extractor,
        preprocessing=preprocessing,
        input_size=input_size,
        weights=weights,
        infinity=infinity,
        labels=labels,
        segmenter=segmenter,
        label_order=label_order,
        alpha=alpha,
        device=device,
        batch=batch,
        json=None if json == STANDARD_OUTPUT else json,
        all_protocols=all_protocols,
        seed=seed,
    )
    _run(request, to_standard_output=json == STANDARD_OUTPUT)


def _run(request: ScoreRequest, *, to_standard_output: bool) -> None:
    """Score, and print the values as JSON where asked; what was mistyped is said before the libraries are loaded."""
    listings = check(request)
    from kdx2i.stages.folders import document_text, run

    with people_on_standard_error(STANDARD_OUTPUT if to_standard_output else None):
        document = run(request, listings)
    if to_standard_output:
        print(document_text(document), end="")
