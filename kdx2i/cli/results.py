"""The commands that make results: one for each kind (`kdx2i.plan.kinds`)."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kdx2i import completion
from kdx2i.cli import options
from kdx2i.cli.app import app
from kdx2i.cli.locking import making
from kdx2i.cli.options import Preset, Seeds, Tables, asked_plan
from kdx2i.cli.running import run_leaf
from kdx2i.config import find_root
from kdx2i.errors import UserError
from kdx2i.plan.kinds import CLASSIFIER, CONTROLS, DISTILLED, FEATURES, MEASURED, RUN, SEGMENTER, Kind

OPTIONS: Mapping[str, Any] = {
    "features": options.Features,
    "dataset": options.Dataset,
    "architecture": options.Architecture,
    "transfer": options.Transfer,
    "resolution": options.Resolution,
    "seed": options.Seed,
    "mode": options.Mode,
}
"""The option of each field of an address."""


def add_command(kind: Kind, description: str, **defaults: str | int) -> None:
    """Add the command that makes one result of a kind: its options are the fields of the kind's address."""

    def command(**values: Any) -> None:
        plan = asked_plan(values.pop("preset"))
        run_leaf(plan, plan.leaf(kind.name, **values))

    fields = {name: OPTIONS[name] for name in kind.fields} | {"preset": Preset}
    given = {**defaults, "preset": "open"}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, keyword, default=given.get(name, inspect.Parameter.empty), annotation=annotation)
        for name, annotation in fields.items()
    ]
    command.__annotations__ = fields
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command(kind.command, help=description)(command)


@app.command()
def split(
    preset: Preset = "open",
    dataset: Annotated[
        list[str] | None, typer.Option(help="Datasets (default: the preset's).", autocompletion=completion.datasets)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Read every file again and compare.")] = False,
) -> None:
    """Make `data/<dataset>/`: tables, images and conditions; or check them."""
    from kdx2i.provenance import problem
    from kdx2i.stages import split as stage

    plan = asked_plan(preset)
    for name in dataset or plan.datasets:
        leaf = plan.split(name)
        if check:
            stage.check(leaf)
            Console(stderr=True).print(f"{leaf.directory}: every file is as the split states", highlight=False)
        else:
            with making(leaf) as waited:
                if not waited or problem(leaf) is not None:
                    stage.run(plan, leaf)


@app.command()
def teacher(
    name: Annotated[str, typer.Argument(help="Name in benchmarks/teachers, or with --official the file to write.")],
    official: Annotated[
        list[Path] | None,
        typer.Option(help="Official weights to convert: a StyleGAN2 (.pt, .pkl); twice for a BigGAN (G and D, .pth)."),
    ] = None,
    preset: Preset = "open",
) -> None:
    """Train a teacher on its dataset, or convert an official weight file without running its code."""
    if official:
        from kdx2i.stages.teacher import import_teacher

        print(import_teacher(official, Path(name)))
        return
    plan = asked_plan(preset)
    run_leaf(plan, plan.teacher(name))


@app.command()
def encoder(
    name: Annotated[
        str,
        typer.Argument(
            help="Name in benchmarks/encoders, or with --official the file to write.",
            autocompletion=completion.encoders,
        ),
    ],
    official: Annotated[
        list[Path] | None,
        typer.Option(
            help="Official encoders to convert: S2IGAN's folder, or AttnGAN's text, image and captions files."
        ),
    ] = None,
    preset: Preset = "open",
) -> None:
    """Train an encoder of captions or speech on its training images, or convert an official one without running it."""
    if official:
        from kdx2i.encoders.importing import import_encoder

        print(import_encoder(official, Path(name)))
        return
    plan = asked_plan(preset)
    run_leaf(plan, plan.encoder(name))


add_command(FEATURES, "Train a feature network on the training drawings of its datasets.", seed=0)
add_command(DISTILLED, "Distil a student from the preset's teacher, without any data (stage 1).", transfer="kd", seed=0)
add_command(MEASURED, "Measure a shipped student of the preset on held-out triplets.", transfer="kd")
add_command(RUN, "Train a method on a dataset (stage 2).", seed=0)
add_command(
    CONTROLS, "Score real images, copied inputs, blanks, class means and noise in the place of generated images."
)
add_command(CLASSIFIER, "Train the classifier of RC on a dataset's real images.")
add_command(SEGMENTER, "Train the segmenter of mIoU on a dataset's real label maps.")


@app.command()
def student(
    name: Annotated[str, typer.Argument(help="Name in benchmarks/students.", autocompletion=completion.students)],
    preset: Preset = "open",
) -> None:
    """Distil a student at the full budget of its recipe; `kdx2i ship` ships it."""
    plan = asked_plan(preset)
    run_leaf(plan, plan.student(name))


@app.command()
def stage1(preset: Preset = "open", seeds: Seeds = "") -> None:
    """Make the table of what the preset's students have learned; their measures must be there and current."""
    from kdx2i.stages.stage1 import run as make
    from kdx2i.stages.stage1 import show

    plan = asked_plan(preset, seeds)
    leaf = plan.stage1()
    with making(leaf):
        make(plan, leaf)
    show(plan)


@app.command()
def table(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Print what is there, write nothing; 1 if something is not.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse cells that were made on several kinds of machine.")
    ] = False,
) -> None:
    """Make tables from their evaluations, which must all be there and current."""
    from kdx2i.provenance import mixture
    from kdx2i.stages.table import preview, show
    from kdx2i.stages.table import run as make

    plan = asked_plan(preset, seeds)
    problems = []
    for name in names or plan.tables:
        if strict and (mixed := mixture(plan.rendered(name))) is not None:
            raise UserError(f"{mixed}; without --strict the table says so in a note")
        if allow_partial:
            problems += preview(plan, name)
        else:
            leaf = plan.rendered(name)
            with making(leaf):
                make(plan, leaf)
            show(plan, name)
    if problems:
        raise typer.Exit(1)


@app.command()
def figure(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Figures (default: all that the preset has).", autocompletion=completion.figures),
    ] = None,
    preset: Preset = "open",
    seeds: Seeds = "",
) -> None:
    """Draw qualitative figures from runs, which must be there and current."""
    plan = asked_plan(preset, seeds)
    for name in names or [name for name, figure in plan.figures.items() if figure.leaf is not None]:
        leaf = plan.figure(name)
        run_leaf(plan, leaf)
        Console(stderr=True).print(f"{leaf.directory / name}.png", highlight=False)


@app.command()
def report(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", help="Folder in results/reference instead of a preset's results; repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="File of a reference's report (default: report.html).")
    ] = None,
) -> None:
    """Write what was found as one HTML page that loads nothing from outside: `results/<preset>/report.html`."""
    if reference:
        from kdx2i.stages.report import write_reference_report

        if names or seeds:
            raise UserError("--reference reports on all tables of a reference: leave out the names and --seeds")
        place = output or Path("report.html")
        write_reference_report(find_root(), reference, place)
        print(place)
        return
    from kdx2i.stages.compare import current_tables
    from kdx2i.stages.report import current_report

    if output is not None:
        raise UserError("--output belongs to --reference: the report of a preset is results/<preset>/report.html")
    plan = asked_plan(preset, seeds)
    leaf = current_report(plan, names or current_tables(plan))
    run_leaf(plan, leaf)
    print(leaf.directory / "report.html")


@app.command()
def user_study(
    preset: Preset = "open",
    seeds: Seeds = "",
    reference: Annotated[
        str, typer.Option("--reference", help="Folder in results/reference instead of a preset's results.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", help="File of a reference's page (default: user_study.html).")
    ] = None,
) -> None:
    """Make the page of the pairwise forced choice of Figure 3(c): `results/<preset>/user_study.html` and its key."""
    if reference:
        from kdx2i.stages.user_study import write_reference_study

        print(*write_reference_study(find_root(), reference, output or Path("user_study.html")), sep="\n")
        return
    if output is not None:
        raise UserError("--output belongs to --reference: the page of a preset is results/<preset>/user_study.html")
    plan = asked_plan(preset, seeds)
    leaf = plan.user_study()
    run_leaf(plan, leaf)
    print(*(leaf.directory / name for name in leaf.outputs), sep="\n")
