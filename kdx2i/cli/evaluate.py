"""The command `evaluate`: a run in one mode, or any images against others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.options import Preset, Seed, asked_plan
from kdx2i.cli.running import run_leaf
from kdx2i.errors import UserError

_RUN_OPTIONS = ("dataset", "architecture", "transfer", "resolution", "mode")


@app.command()
def evaluate(
    context: typer.Context,
    dataset: Annotated[
        str, typer.Option(help="Name of a dataset of the preset.", autocompletion=completion.datasets)
    ] = "",
    architecture: Annotated[
        str, typer.Option(help="Name of an architecture.", autocompletion=completion.architecture_names)
    ] = "",
    transfer: Annotated[
        str,
        typer.Option(
            help="How its weights start: scratch, kd or an ablation of it.", autocompletion=completion.transfer_names
        ),
    ] = "",
    resolution: Annotated[int, typer.Option(help="Pixels of a side.")] = 0,
    mode: Annotated[str, typer.Option(help="How the run is asked for images.")] = "",
    preset: Preset = "open",
    generated: Annotated[Path | None, typer.Option(help="Folder or zip: flat, or one sub-folder a class.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Folder or zip of the real images.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Of fid,kid,is,mfid,mkid,rc,fc,lpips,miou (default: what the folders allow).")
    ] = None,
    extractor: Annotated[str, typer.Option(help="Feature network.")] = "inception-v3-compat",
    preprocessing: Annotated[str, typer.Option(help="Resize: clean or tf1.")] = "clean",
    input_size: Annotated[int | None, typer.Option(help="Pixels of a side that the network sees.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of the feature network.")] = None,
    infinity: Annotated[bool, typer.Option("--infinity", help="Also FID extrapolated to infinite samples.")] = False,
    labels: Annotated[Path | None, typer.Option(help="Folder of label maps, for miou.")] = None,
    segmenter: Annotated[Path | None, typer.Option(help="Segmentation network, for miou.")] = None,
    label_order: Annotated[
        str, typer.Option(help="How label maps are numbered: segmenter, celebamask-hq or face-parsing.")
    ] = "segmenter",
    device: Annotated[str | None, typer.Option(help="cpu or cuda (default: cuda where there is one).")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images that lpips and miou decode at a time.")] = 64,
    json: Annotated[Path | None, typer.Option(help="File to write the values to.")] = None,
    all_protocols: Annotated[
        bool, typer.Option("--all-protocols", help="Score the same images under every registered protocol.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Score a run in one mode, or any images (--generated) against others (--reference)."""
    given = [
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if _asks_for_folders(given):
        from kdx2i.stages.folders import Request, parse_metrics
        from kdx2i.stages.folders import run as score

        assert generated is not None and reference is not None
        score(
            Request(
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
                device=device,
                batch=batch,
                json=json,
                all_protocols=all_protocols,
                seed=seed,
            )
        )
        return
    plan = asked_plan(preset)
    leaf = plan.evaluation(dataset, architecture, transfer, resolution, seed, mode)
    run_leaf(plan, leaf, stage="protocols" if all_protocols else "")


def _asks_for_folders(given: Sequence[str]) -> bool:
    """Say whether `evaluate` was asked for folders, from the names of the given options; `UserError` for a mixture."""
    folders = ("generated", "reference")
    forms = "evaluate takes --generated and --reference, or " + ", ".join(f"--{name}" for name in _RUN_OPTIONS)
    for_folders = any(name in folders for name in given)
    wanted = folders if for_folders else _RUN_OPTIONS
    shared = ("seed", "all_protocols") if for_folders else ("seed", "all_protocols", "preset")
    run_only = (*_RUN_OPTIONS, "preset")
    strange = [name for name in given if name not in (*wanted, *shared) and (name in run_only) is for_folders]
    missing = [name for name in wanted if name not in given]
    if strange:
        what = "--generated and --reference" if for_folders else "a run, whose preset says how it is scored"
        raise UserError(f"--{strange[0].replace('_', '-')} does not go with {what}: {forms}")
    if missing:
        raise UserError(f"--{missing[0]} is missing: {forms}")
    return for_folders
