"""The command `kdx2i`: one sub-command for each stage, and those that check and explain results.

Torch is imported by the stage that runs, never here. A user's mistake is one sentence on stderr and
exit status 2; 1 means that a check found something.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from kdx2i.config import find_root, load_dataset, load_table, names_in, parse_seeds
from kdx2i.errors import UserError
from kdx2i.plan import Leaf, Plan

app = typer.Typer(
    name="kdx2i",
    help="Reproduce 'Distilling GANs with style-mixed triplets for X2I translation with limited data'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="The embedded data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Preset = Annotated[str, typer.Option(help="Name of a preset, or the path of its YAML file.")]
Seeds = Annotated[str, typer.Option(help="Seeds instead of the preset's, e.g. 0,1,2.")]
Dataset = Annotated[str, typer.Option(help="Name of a dataset of the preset.")]
Architecture = Annotated[str, typer.Option(help="Name of an architecture.")]
Transfer = Annotated[str, typer.Option(help="How its weights start: scratch, kd or an ablation of it.")]
Resolution = Annotated[int, typer.Option(help="Pixels of a side.")]
Seed = Annotated[int, typer.Option(help="Seed of the run.")]
Mode = Annotated[str, typer.Option(help="How the run is asked for images.")]
Tables = Annotated[list[str] | None, typer.Argument(help="Names of tables.")]


# Typer carries its own copy of Click: the base of what it raises for a mistake on the command line.
UsageMistake: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def make_plan(preset: str, seeds: str = "") -> Plan:
    """Return the plan of a preset for the repository that the command runs in."""
    return Plan(find_root(), preset, parse_seeds(seeds))


def run_stage(stage: str, plan: Plan, leaf: Leaf) -> None:
    """Run a job's stage with the threads and GPUs that the preset asks for.

    The number of threads decides how sums are split, hence the last digits: it belongs to the preset, not
    to the machine.
    """
    os.environ["OMP_NUM_THREADS"] = str(plan.preset.resources.threads)
    if stage in ("distill", "train", "evaluate", "protocols"):
        _require_gpus(plan)
    importlib.import_module(f"kdx2i.stages.{stage}").run(plan, leaf)


def _require_gpus(plan: Plan) -> None:
    """Refuse to run a GPU preset without its GPUs: on a CPU it would seem to hang for weeks."""
    wanted = plan.preset.resources.gpus
    if wanted == 0:
        return
    import torch

    found = torch.cuda.device_count()
    if found < wanted:
        raise UserError(
            f"preset {plan.preset.name} asks for {wanted} GPU(s) a job and PyTorch sees {found}: "
            "run it on a machine with a GPU, or set `resources: {gpus: 0}` in the preset"
        )


# -- stages ------------------------------------------------------------------------------------------


@app.command()
def split(
    preset: Preset = "open",
    dataset: Annotated[list[str] | None, typer.Option(help="Datasets (default: the preset's).")] = None,
    check: Annotated[bool, typer.Option("--check", help="Read every image again and compare.")] = False,
) -> None:
    """Make `data/<dataset>/split.csv` and its images, or check them."""
    plan = make_plan(preset)
    stage: Any = importlib.import_module("kdx2i.stages.split")
    for name in dataset or plan.datasets:
        leaf = plan.split(name)
        if check:
            stage.check(leaf)
            Console(stderr=True).print(f"{leaf.directory}: every image is as the split states", highlight=False)
        else:
            stage.run(plan, leaf)


@app.command()
def teacher(
    name: Annotated[str, typer.Argument(help="Name in benchmarks/teachers, or with --official the file to write.")],
    official: Annotated[
        list[Path] | None,
        typer.Option(help="Official weights to convert: a StyleGAN2 (.pt, .pkl); twice for a BigGAN (G and D, .pth)."),
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Instead of those configured.")] = None,
) -> None:
    """Train a teacher on its dataset, or convert an official weight file without running its code."""
    stage: Any = importlib.import_module("kdx2i.stages.teacher")
    if official:
        print(stage.import_teacher(official, Path(name)))
    else:
        print(stage.train_teacher(find_root(), name, iterations))


@app.command()
def distill(
    architecture: Architecture,
    resolution: Resolution,
    transfer: Transfer = "kd",
    seed: Seed = 0,
    preset: Preset = "open",
) -> None:
    """Distil a student from the preset's teacher, without any data (stage 1)."""
    plan = make_plan(preset)
    run_stage("distill", plan, plan.distilled(architecture, transfer, resolution, seed))


@app.command()
def train(
    dataset: Dataset,
    architecture: Architecture,
    transfer: Transfer,
    resolution: Resolution,
    seed: Seed = 0,
    preset: Preset = "open",
) -> None:
    """Train a method on a dataset (stage 2)."""
    plan = make_plan(preset)
    leaf = plan.run(dataset, architecture, transfer, resolution, seed)
    _run_after_inputs("train", plan, leaf)


_RUN_OPTIONS = ("dataset", "architecture", "transfer", "resolution", "mode")


@app.command()
def evaluate(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="Name of a dataset of the preset.")] = "",
    architecture: Annotated[str, typer.Option(help="Name of an architecture.")] = "",
    transfer: Annotated[str, typer.Option(help="How its weights start: scratch, kd or an ablation of it.")] = "",
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
    plan = make_plan(preset)
    leaf = plan.evaluation(dataset, architecture, transfer, resolution, seed, mode)
    if all_protocols:
        _run_after_inputs("protocols", plan, leaf)
    else:
        _run_after_inputs("evaluate", plan, leaf)


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


@app.command()
def controls(dataset: Dataset, resolution: Resolution, preset: Preset = "open") -> None:
    """Score real images, copied inputs and noise in the place of generated images."""
    plan = make_plan(preset)
    _run_after_inputs("controls", plan, plan.controls(dataset, resolution))


@app.command()
def classifier(dataset: Dataset, resolution: Resolution, preset: Preset = "open") -> None:
    """Train the classifier of RC on a dataset's real images."""
    plan = make_plan(preset)
    _run_after_inputs("classifier", plan, plan.classifier(dataset, resolution))


@app.command()
def segmenter(dataset: Dataset, resolution: Resolution, preset: Preset = "open") -> None:
    """Train the segmenter of mIoU on a dataset's real label maps."""
    plan = make_plan(preset)
    _run_after_inputs("segmenter", plan, plan.segmenter(dataset, resolution))


def _run_after_inputs(stage: str, plan: Plan, leaf: Leaf) -> None:
    """Run a stage whose inputs must be there and current."""
    from kdx2i.provenance import require_current

    require_current(leaf.inputs.values())
    run_stage(stage, plan, leaf)


@app.command()
def table(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Print what is there, write nothing; 1 if something is not.")
    ] = False,
) -> None:
    """Make tables from their evaluations, which must all be there and current."""
    from kdx2i.stages.table import preview, show
    from kdx2i.stages.table import run as make

    plan = make_plan(preset, seeds)
    problems = []
    for name in names or plan.tables:
        if allow_partial:
            problems += preview(plan, name)
        else:
            make(plan, plan.rendered(name))
            show(plan, name)
    if problems:
        raise typer.Exit(1)


@app.command()
def figure(
    names: Annotated[list[str] | None, typer.Argument(help="Figures (default: all that the preset has).")] = None,
    preset: Preset = "open",
    seeds: Seeds = "",
) -> None:
    """Draw qualitative figures from runs, which must be there and current."""
    plan = make_plan(preset, seeds)
    for name in names or [name for name, figure in plan.figures.items() if figure.leaf is not None]:
        leaf = plan.figure(name)
        run_stage("figure", plan, leaf)
        Console(stderr=True).print(f"{leaf.directory / name}.png", highlight=False)


@app.command()
def compare(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    expect: Annotated[Path | None, typer.Option(help="YAML file of expectations; 1 if one fails.")] = None,
    infer_protocol: Annotated[
        bool,
        typer.Option("--infer-protocol", help="Say which registered protocol best explains the published numbers."),
    ] = False,
) -> None:
    """Compare tables (default: all that are current) with the published numbers."""
    from kdx2i.stages.compare import current_tables
    from kdx2i.stages.compare import run as make

    plan = make_plan(preset, seeds)
    if infer_protocol:
        from kdx2i.stages.infer import show as infer

        if expect is not None:
            raise UserError("--expect belongs to the comparison of tables, not to --infer-protocol: use one of them")
        for name in names or current_tables(plan):
            infer(plan, name)
        return
    leaf = plan.comparison(names or current_tables(plan))
    if make(plan, leaf, expectations=expect):
        raise typer.Exit(1)


# -- checks and explanations -------------------------------------------------------------------------


@app.command()
def verify(names: Tables = None, preset: Preset = "open", seeds: Seeds = "") -> None:
    """Compute every result's identity and checksums again; name what is stale, corrupt or missing."""
    from kdx2i.stages.verify import verify as look

    findings = look(make_plan(preset, seeds), names or ())
    problems = [finding.problem for finding in findings if finding.problem is not None]
    for problem in problems:
        print(problem.sentence)
    print(f"{len(findings) - len(problems)} of {len(findings)} results are current and whole")
    if problems:
        raise typer.Exit(1)


@app.command()
def restore(
    preset: Preset = "open",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """After `dvc pull`: remove results that are not true here, and make the images of pulled splits."""
    from kdx2i.stages.restore import restore as mend

    def make_split(plan: Plan, leaf: Leaf) -> None:
        importlib.import_module("kdx2i.stages.split").run(plan, leaf)

    removed = mend(make_plan(preset), make_split=make_split, dry_run=dry_run)
    for finding in removed:
        assert finding.problem is not None
        print(f"{'would remove' if dry_run else 'removed'}: {finding.problem.sentence}")
    print(f"{len(removed)} results {'to remove' if dry_run else 'removed'}; what is left is current")


@app.command("show")
def show_cell(
    name: Annotated[str, typer.Argument(help="Name of a table.")],
    cell: Annotated[str, typer.Argument(help="Part/row/dataset, or some of them, e.g. 'Ours*/birds'.")] = "",
    preset: Preset = "open",
    seeds: Seeds = "",
) -> None:
    """Go from a number of a table to its command, inputs, seed, log and images."""
    from kdx2i.stages.show import show as explain

    explain(make_plan(preset, seeds), name, cell, Console())


@app.command()
def check(
    preset: Annotated[str, typer.Option(help="One preset (default: all).")] = "",
) -> None:
    """Check every YAML file and plan every table of every preset, without running anything."""
    from kdx2i.tables.published import load_published

    root = find_root()
    for name in names_in(root / "benchmarks" / "datasets"):
        load_dataset(root, name)
    for name in names_in(root / "benchmarks" / "tables"):
        load_table(root, name)
        load_published(root, name)
    for name in [preset] if preset else names_in(root / "benchmarks" / "presets"):
        plan = Plan(root, name)
        for table_name in plan.tables:
            table_plan = plan.table(table_name)
            leaves = list(plan.rendered(table_name).upstream())
            cells = [cell for cell in table_plan.cells if cell.leaves]
            print(f"{name} {table_name}: {len(cells)} of {len(table_plan.cells)} cells, {len(leaves)} results")


@app.command()
def protocol() -> None:
    """Render the protocol register to docs/protocol.md."""
    stage: Any = importlib.import_module("kdx2i.stages.protocol")
    print(stage.write(find_root()))


@app.command()
def reference(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    name: Annotated[str, typer.Option(help="Folder in results/reference (default: the preset's name).")] = "",
    samples: Annotated[bool, typer.Option(help="Keep the sample grids of the first seed.")] = True,
) -> None:
    """Copy current tables and the evidence behind them to results/reference."""
    stage: Any = importlib.import_module("kdx2i.stages.reference")
    plan = make_plan(preset, seeds)
    print(stage.export(plan, names or plan.tables, name or plan.preset.name, samples=samples))


@data_app.command("rebuild-pack")
def rebuild_pack(
    out: Annotated[Path, typer.Option(help="Folder for the rebuilt pack.")],
    packages: Annotated[
        Path | None, typer.Option(help="Folder with the npm packages; they are fetched into it (default: OUT).")
    ] = None,
) -> None:
    """Rebuild the pack of drawings from the published npm packages and compare it with the shipped one."""
    rebuild: Any = importlib.import_module("kdx2i.data.rebuild")
    source = find_root() / "benchmarks" / "datasets" / "open_emoji"
    places = rebuild.download_packages(source / rebuild.PACKAGES, packages or out / "packages")
    reports = rebuild.rebuild_pack(places, source / "manifest.csv", out)
    for report in reports:
        outcome = "identical" if report.identical else f"{len(report.differing)} differ ({report.differing[0]}, ...)"
        print(f"{report.file}: {report.drawings} drawings, {outcome}")
    if not all(report.identical for report in reports):
        raise typer.Exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return guarded(lambda: app(args=None if argv is None else list(argv), prog_name="kdx2i", standalone_mode=False))


def guarded(command: Callable[[], Any]) -> int:
    """Run a command; a user's mistake becomes one sentence on stderr and 2, an interruption 130."""
    console = Console(stderr=True)
    try:
        status = command()
    except UserError as error:
        sys.stdout.flush()
        console.print(f"[red]error:[/red] {escape(' '.join(str(error).split()))}", highlight=False, soft_wrap=True)
        return 2
    except UsageMistake as error:
        error.show()
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        console.print("interrupted", highlight=False)
        return 130
    return status if isinstance(status, int) else 0
