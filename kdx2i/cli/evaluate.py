"""The command `evaluate`: a run in one mode. Its former second form, any images against others, is `score`."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.options import Preset, Seed, asked_plan
from kdx2i.cli.running import run_leaf
from kdx2i.errors import UserError

_RUN_OPTIONS = ("dataset", "architecture", "transfer", "resolution", "mode")
_FOLDERS = ("--generated", "--reference")
_FORMS = "evaluate takes --generated and --reference, or " + ", ".join(f"--{name}" for name in _RUN_OPTIONS)


# The options of `score` are not known here: they are handed on as they stand.
@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
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
    all_protocols: Annotated[
        bool, typer.Option("--all-protocols", help="Score the same images under every registered protocol.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Score a run in one mode. For any images against others see `kdx2i score`."""
    given = [
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    options_given = [word.partition("=")[0] for word in context.args if word.startswith("--")]
    if any(word in _FOLDERS for word in options_given):
        _check_folders(given, options_given)
        Console(stderr=True).print(
            "`kdx2i evaluate --generated ...` is now `kdx2i score --generated ...`", soft_wrap=True
        )
        more = ["--all-protocols"] if all_protocols else []
        app(args=["score", *context.args, *more, "--seed", str(seed)], prog_name="kdx2i", standalone_mode=False)
        return
    if context.args:
        word = options_given[0] if options_given else context.args[0]
        raise UserError(f"{word} does not go with a run, whose preset says how it is scored: {_FORMS}")
    missing = [name for name in _RUN_OPTIONS if name not in given]
    if missing:
        raise UserError(f"--{missing[0]} is missing: {_FORMS}")
    plan = asked_plan(preset)
    leaf = plan.evaluation(dataset, architecture, transfer, resolution, seed, mode)
    run_leaf(plan, leaf, stage="all_protocols" if all_protocols else "")


def _check_folders(given: Sequence[str], options_given: Sequence[str]) -> None:
    """Refuse a mixture with the options of a run, and one folder without the other."""
    strange = [name for name in given if name in (*_RUN_OPTIONS, "preset")]
    missing = [word for word in _FOLDERS if word not in options_given]
    if strange:
        raise UserError(f"--{strange[0]} does not go with --generated and --reference: {_FORMS}")
    if missing:
        raise UserError(f"{missing[0]} is missing: {_FORMS}")
