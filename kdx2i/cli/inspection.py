"""The commands that check, explain and keep results."""

from typing import Annotated

import typer
from rich.console import Console

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.options import Preset, Seeds, Tables, asked_plan
from kdx2i.config import find_root, load_dataset, load_table, names_in
from kdx2i.features.recipes import load_feature_recipe
from kdx2i.suite import make_plan


@app.command()
def verify(names: Tables = None, preset: Preset = "open", seeds: Seeds = "") -> None:
    """Compute every result's identity and checksums again; name what is stale, corrupt or missing."""
    from kdx2i.inspection.verify import verify as look

    findings = look(asked_plan(preset, seeds), names or ())
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
    from kdx2i.inspection.restore import restore as mend

    removed = mend(asked_plan(preset), dry_run=dry_run)
    for finding in removed:
        assert finding.problem is not None
        print(f"{'would remove' if dry_run else 'removed'}: {finding.problem.sentence}")
    print(f"{len(removed)} results {'to remove' if dry_run else 'removed'}; what is left is current")


@app.command("show")
def show_cell(
    name: Annotated[str, typer.Argument(help="Name of a table.", autocompletion=completion.tables)],
    cell: Annotated[str, typer.Argument(help="Part/row/dataset, or some of them, e.g. 'Ours*/birds'.")] = "",
    preset: Preset = "open",
    seeds: Seeds = "",
) -> None:
    """Go from a number of a table to its command, inputs, seed, log and images."""
    from kdx2i.inspection.show import show as explain

    explain(asked_plan(preset, seeds), name, cell, Console())


@app.command()
def check(
    preset: Annotated[str, typer.Option(help="One preset (default: all).", autocompletion=completion.presets)] = "",
) -> None:
    """Check every YAML file and plan every table of every preset, without running anything."""
    from kdx2i.tables.published import read_published

    root = find_root()
    for name in names_in(root / "benchmarks" / "datasets"):
        load_dataset(root, name)
    for name in names_in(root / "benchmarks" / "tables"):
        load_table(root, name)
        read_published(root, name)
    for name in names_in(root / "benchmarks" / "features"):
        load_feature_recipe(root, name)
    for name in [preset] if preset else names_in(root / "benchmarks" / "presets"):
        plan = make_plan(root, name)
        for table_name in plan.tables:
            table_plan = plan.table(table_name)
            leaves = list(plan.rendered(table_name).upstream())
            cells = [cell for cell in table_plan.cells if cell.leaves]
            print(f"{name} {table_name}: {len(cells)} of {len(table_plan.cells)} cells, {len(leaves)} results")


@app.command()
def protocol() -> None:
    """Render the protocol register to docs/protocol.md."""
    from kdx2i.inspection.register_page import write

    print(write(find_root()))


@app.command()
def reference(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    name: Annotated[str, typer.Option(help="Folder in results/reference (default: the preset's name).")] = "",
    samples: Annotated[bool, typer.Option(help="Keep the sample grids of the first seed.")] = True,
) -> None:
    """Copy current tables and the evidence behind them to results/reference."""
    from kdx2i.inspection.reference import export

    plan = asked_plan(preset, seeds)
    print(export(plan, names or plan.tables, name or plan.preset.name, samples=samples))


@app.command()
def ship(
    name: Annotated[str, typer.Argument(help="Name in benchmarks/teachers or benchmarks/features.")],
    preset: Preset = "open",
) -> None:
    """Put a teacher or a feature network that was trained here in the place of the shipped one, with its provenance."""
    from kdx2i.inspection.ship import ship_teacher
    from kdx2i.inspection.ship_features import ship_features

    plan = asked_plan(preset)
    if name in plan.feature_networks:
        print(ship_features(plan, name))
        return
    print(ship_teacher(plan, plan.teacher(name)))
