"""The command `score`: any images against any others, or a published checkpoint on a dataset."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.machine_output import STANDARD_OUTPUT, Json, people_on_standard_error, reporting
from kdx2i.cli.options import Preset, asked_plan, path_of
from kdx2i.data.image_kinds import Alpha
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS
from kdx2i.metrics.protocols import DIMENSIONS
from kdx2i.stages.folder_request import ScoreRequest, check, parse_metrics

_INPUTS = ", ".join(DIMENSIONS["preprocessing"])
_WORDS = ",".join(metric.word for metric in METRICS.values() if metric.word is not None)


def _path(option: str, text: str) -> Any:
    """Return the option of a path."""
    return typer.Option(parser=path_of(option), help=text)


Generated = Annotated[Path | None, _path("--generated", "Folder or zip: flat, or one sub-folder a class.")]
Reference = Annotated[Path | None, _path("--reference", "Folder or zip of the real images, or statistics (.npz).")]
SaveStatistics = Annotated[Path | None, _path("--save-statistics", "File (.npz) for the statistics of --reference.")]
CrossCheck = Annotated[
    bool, typer.Option("--cross-check", help="Also FID, KID and IS by clean-fid and torch-fidelity, and differences.")
]
Metrics = Annotated[list[str] | None, typer.Option(help=f"Of {_WORDS} (default: what the folders allow); repeatable.")]
Preprocessing = Annotated[str, typer.Option(help=f"Resize and normalisation: {_INPUTS}.")]
InputSize = Annotated[int | None, typer.Option(help="Pixels of a side that the network sees.")]
Weights = Annotated[Path | None, _path("--weights", "Weights of the feature network.")]
Infinity = Annotated[bool, typer.Option("--infinity", help="Also FID extrapolated to infinite samples.")]
Labels = Annotated[Path | None, _path("--labels", "Folder of label maps, for miou.")]
Segmenter = Annotated[Path | None, _path("--segmenter", "Segmentation network, for miou.")]
LabelOrder = Annotated[str, typer.Option(help="How label maps are numbered: segmenter, celebamask-hq or face-parsing.")]
Transparency = Annotated[
    Alpha, typer.Option(help="Transparency: laid on white, or dropped as clean-fid and torch-fidelity do.")
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda (default: cuda where there is one).")]
Batch = Annotated[int, typer.Option(min=1, help="Images that lpips and miou decode at a time.")]
AllProtocols = Annotated[
    bool, typer.Option("--all-protocols", help="Score the same images under every registered protocol.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the metrics that draw subsets.")]
Checkpoint = Annotated[Path | None, _path("--checkpoint", "Instead of images: a model that its authors published.")]
Architecture = Annotated[
    str, typer.Option(help="Architecture of --checkpoint.", autocompletion=completion.architecture_names)
]
Dataset = Annotated[
    str, typer.Option(help="Dataset of the preset to score --checkpoint on.", autocompletion=completion.datasets)
]
Mode = Annotated[str | None, typer.Option(help="How --checkpoint is asked (default: its first mode).")]
Resolution = Annotated[int | None, typer.Option(min=1, help="Pixels of --checkpoint, where it does not say.")]
Encoder = Annotated[Path | None, _path("--encoder", "Encoder of the conditions of --checkpoint.")]


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
    context: typer.Context,
    generated: Generated = None,
    reference: Reference = None,
    metrics: Metrics = None,
    extractor: Annotated[str, typer.Option(help="Feature network.")] = "inception-v3-compat",
    preprocessing: Preprocessing = "clean",
    input_size: InputSize = None,
    weights: Weights = None,
    infinity: Infinity = False,
    labels: Labels = None,
    segmenter: Segmenter = None,
    label_order: LabelOrder = "segmenter",
    alpha: Transparency = "white",
    device: Device = None,
    batch: Batch = 64,
    json: Json = None,
    all_protocols: AllProtocols = False,
    seed: Seed = 0,
    save_statistics: SaveStatistics = None,
    cross_check: CrossCheck = False,
    checkpoint: Checkpoint = None,
    architecture: Architecture = "",
    dataset: Dataset = "",
    preset: Preset = "paper",
    mode: Mode = None,
    resolution: Resolution = None,
    encoder: Encoder = None,
) -> None:
    """Score any images against others, with or without classes; or a published checkpoint on a dataset."""
    given = dict(context.params)
    of_checkpoint = {
        name: given.pop(name) for name in ("checkpoint", "architecture", "dataset", "mode", "resolution", "encoder")
    }
    del given["preset"]
    if checkpoint is not None:
        _score_checkpoint(context, of_checkpoint, preset)
        return
    _require(context, of_checkpoint, "goes with --checkpoint")
    if generated is None and reference is not None and save_statistics is not None:
        _save_statistics(ScoreRequest(**{**given, "generated": reference, "metrics": None}))
        return
    for option in ("generated", "reference"):
        if given[option] is None:
            raise UserError(f"--{option} is missing: score takes --generated and --reference, or --checkpoint")
    file = None if json == STANDARD_OUTPUT else json
    request = ScoreRequest(**{**given, "metrics": parse_metrics(metrics), "json": file})
    # What was mistyped is said before the libraries are loaded.
    listings = check(request)
    from kdx2i.stages.folders import document_text, run

    with people_on_standard_error(json):
        document = run(request, listings)
    if json == STANDARD_OUTPUT:
        print(document_text(document), end="")


def _save_statistics(request: ScoreRequest) -> None:
    """Write the statistics of the reference images alone."""
    listing = check(request).reference
    assert listing is not None  # a file of statistics does not go with --save-statistics
    from kdx2i.stages.folders import save_statistics

    save_statistics(request, listing)


def _score_checkpoint(context: typer.Context, of_checkpoint: dict[str, Any], preset: str) -> None:
    """Score a published checkpoint by the protocol of a preset."""
    own = {"preset", "seed", "json", *of_checkpoint}
    _require(context, [name for name in context.params if name not in own], "does not go with --checkpoint")
    for option in ("architecture", "dataset"):
        if not of_checkpoint[option]:
            raise UserError(f"--{option} is missing: --checkpoint takes --architecture and --dataset beside it")
    from kdx2i.stages.official_scores import OfficialRequest, score_checkpoint

    request = OfficialRequest(**of_checkpoint, seed=context.params["seed"])
    with reporting(context.params["json"]) as report:
        report.document = score_checkpoint(asked_plan(preset), request)


def _require(context: typer.Context, unused: Any, reason: str) -> None:
    """Refuse options that say nothing here."""
    for name in unused:
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE":
            raise UserError(f"--{name.replace('_', '-')} {reason}")
