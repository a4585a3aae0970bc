"""The commands that check, explain and keep results."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kdx2i import completion
from kdx2i.cli.app import app
from kdx2i.cli.machine_output import Json, reporting
from kdx2i.cli.options import Preset, Seeds, Tables, asked_plan
from kdx2i.config import find_root, load_dataset, load_student, load_table, names_in
from kdx2i.config.claims import load_claims
from kdx2i.config.study import load_study
from kdx2i.encoders.recipes import load_encoder_recipe
from kdx2i.errors import UserError
from kdx2i.features.recipes import load_feature_recipe
from kdx2i.identity import large_files_unread
from kdx2i.plan.kinds import STAGE1
from kdx2i.suite import make_plan


@app.command()
def verify(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="1 also for tables of several kinds of machine and other threads.")
    ] = False,
    json: Json = None,
) -> None:
    """Compute every result's identity and checksums again; name what is stale, corrupt or missing.

    1 where something is, and where there is no result at all.
    """
    from kdx2i.inspection.shipped_students import notices
    from kdx2i.inspection.verify import doubts, shipped_problem
    from kdx2i.inspection.verify import verify as look

    plan = asked_plan(preset, seeds)
    with reporting(json) as report:
        told = notices(plan)
        findings = look(plan, names or ())
        problems = [finding.problem for finding in findings if finding.problem is not None]
        damaged = shipped_problem(plan)
        doubtful = doubts(plan, findings)
        shipped = [notice.sentence for notice in told] + ([] if damaged is None else [damaged])
        for sentence in [*(problem.sentence for problem in problems), *shipped, *doubtful]:
            print(sentence)
        if findings:
            print(f"{len(findings) - len(problems)} of {len(findings)} results are current and whole")
        else:
            print(
                f"no result of preset {plan.preset.name} is here: `snakemake` makes them, `dvc pull` fetches kept ones"
            )
        report.document = {
            "format": "kdx2i-verify-1",
            "preset": plan.preset.name,
            "results": [finding.as_json() for finding in findings],
            "shipped": shipped,
            "doubts": doubtful,
        }
    corrupt = damaged is not None or any(notice.kind == "corrupt" for notice in told)
    if problems or not findings or corrupt or (strict and doubtful):
        raise typer.Exit(1)


@app.command()
def restore(
    preset: Preset = "open",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    splits: Annotated[bool, typer.Option("--splits", help="Only make the images of pulled splits.")] = False,
) -> None:
    """After `dvc pull`: remove results that are not true here, and make the images of pulled splits."""
    from kdx2i.inspection.restore import restore as mend
    from kdx2i.inspection.restore import restore_images

    if splits:
        for leaf in restore_images(asked_plan(preset)):
            print(f"{leaf.name}: images made again, as it was pulled")
        return
    removed = mend(asked_plan(preset), dry_run=dry_run)
    for finding in removed:
        assert finding.problem is not None
        print(f"{'would remove' if dry_run else 'removed'}: {finding.problem.sentence}")
    print(f"{len(removed)} results {'to remove' if dry_run else 'removed'}; what is left is current")


@app.command("show")
def show_cell(
    name: Annotated[str, typer.Argument(help="Name of a table, or stage1.", autocompletion=completion.tables)],
    cell: Annotated[
        str, typer.Argument(help="Part/row/dataset, or some of them: 'Ours*/birds'; a student: 'kd/64'.")
    ] = "",
    preset: Preset = "open",
    seeds: Seeds = "",
    json: Json = None,
) -> None:
    """Go from a number of a table to its command, inputs, seed, log and images."""
    from kdx2i.inspection.show import as_document, show
    from kdx2i.inspection.show_students import show_students, students_document

    plan = asked_plan(preset, seeds)
    explain, document = (show_students, students_document) if name == STAGE1.name else (show, as_document)
    with reporting(json) as report:
        explain(plan, name, cell, Console())
        if json is not None:
            report.document = document(plan, name, cell)


@app.command()
def check(
    preset: Annotated[str, typer.Option(help="One preset (default: all).", autocompletion=completion.presets)] = "",
    json: Json = None,
) -> None:
    """Check every YAML file and plan every table of every preset, without running anything."""
    from kdx2i.tables.published import read_published

    root = find_root()
    for name in names_in(root / "benchmarks" / "datasets"):
        load_dataset(root, name)
    for name in names_in(root / "benchmarks" / "tables"):
        load_table(root, name)
        read_published(root, name)
    for name in names_in(root / "benchmarks" / "students"):
        load_student(root, name)
    for name in names_in(root / "benchmarks" / "features"):
        load_feature_recipe(root, name)
    for name in names_in(root / "benchmarks" / "encoders"):
        load_encoder_recipe(root, name)
    load_claims(root)
    load_study(root)
    planned = []
    with reporting(json) as report, large_files_unread():
        for name in [preset] if preset else names_in(root / "benchmarks" / "presets"):
            plan = make_plan(root, name)
            for table_name in plan.tables:
                cells = plan.table(table_name).cells
                run = [cell for cell in cells if cell.leaves]
                counts = {
                    "cells": len(run),
                    "of": len(cells),
                    "results": len(list(plan.rendered(table_name).upstream())),
                }
                planned.append({"preset": name, "table": table_name, **counts})
                print(f"{name} {table_name}: {len(run)} of {len(cells)} cells, {counts['results']} results")
        report.document = {"format": "kdx2i-check-1", "tables": planned}


@app.command()
def protocol() -> None:
    """Render the protocol register to docs/protocol.md."""
    from kdx2i.inspection.register_page import write

    print(write(find_root()))


@app.command()
def scale(preset: Preset = "paper") -> None:
    """Count what the jobs of a preset compute, and write docs/scale.md and benchmarks/costs (some minutes)."""
    from kdx2i.costs.page import write

    for path in write(asked_plan(preset)):
        print(path)


@app.command()
def pages() -> None:
    """Write what is made from other files: the numbers of docs/*.md, the register, model cards, Croissant."""
    from kdx2i.inspection.croissant import write as write_croissant
    from kdx2i.inspection.model_cards import write as write_cards
    from kdx2i.inspection.page_values import write_pages
    from kdx2i.inspection.register_page import write

    root = find_root()
    for page in [*write_pages(root), write(root), write_cards(root), write_croissant(root)]:
        print(page)


@app.command()
def adopt(names: Tables = None, preset: Preset = "open", seeds: Seeds = "") -> None:
    """Take over stale trainings whose first steps give the same bits under today's code; 1 where one does not.

    Without tables: those behind any table, and whatever else lies in the preset's results.
    """
    from kdx2i.cli.running import run_leaf
    from kdx2i.inspection.verify import planned, provenance_files
    from kdx2i.plan.leaf import upstream_of
    from kdx2i.provenance import problem
    from kdx2i.stages import adopt as stage

    plan = asked_plan(preset, seeds)
    found = [] if names else [leaf for path in provenance_files(plan) if (leaf := planned(plan, path)[0]) is not None]
    refused = adopted = 0
    for leaf in upstream_of([*(plan.rendered(name) for name in names or plan.tables), *found]):
        fault = problem(leaf) if leaf.kind in stage.KINDS else None
        if fault is None or fault.kind != "stale":
            continue
        try:
            run_leaf(plan, leaf, "adopt")
        except UserError as error:
            print(error)
            refused += 1
        else:
            print(f"{leaf.name}: adopted")
            adopted += 1
    print(f"{adopted} results adopted, {refused} not; `snakemake` makes again what is not current")
    if refused:
        raise typer.Exit(1)


@app.command()
def summary(preset: Preset = "open") -> None:
    """Print what is current, the verdicts and the tables as Markdown, for a job of continuous integration."""
    from kdx2i.inspection.summary import summary as summarise

    print(summarise(asked_plan(preset)), end="")


@app.command()
def curves(preset: Preset = "open") -> None:
    """Write the losses of every training as small CSV files, which `dvc plots` draws."""
    from kdx2i.inspection.curves import write_curves

    plan = asked_plan(preset)
    print(f"{len(write_curves(plan))} curves in {plan.results / 'curves'}")


@app.command()
def reference(
    names: Tables = None,
    preset: Preset = "open",
    seeds: Seeds = "",
    name: Annotated[str, typer.Option(help="Folder in results/reference (default: the preset's name).")] = "",
    samples: Annotated[bool, typer.Option(help="Keep the sample grids of the first seed.")] = True,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="Results folder of the same tables from another machine or instruction set; repeatable."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Keep the other tables that the folder has.")] = False,
) -> None:
    """Copy current tables, the evidence behind them and their spread to results/reference."""
    from kdx2i.inspection.reference import export

    plan = asked_plan(preset, seeds)
    print(export(plan, names or plan.tables, name or plan.preset.name, samples=samples, also=also or (), add=add))


@app.command()
def ship(
    name: Annotated[
        str, typer.Argument(help="Name in a folder of recipes: benchmarks/{teachers,students,features,encoders}.")
    ],
    preset: Preset = "open",
) -> None:
    """Put a teacher, student, feature network or encoder that was made here in the shipped one's place.

    Its provenance stands beside it.
    """
    plan = asked_plan(preset)
    if name in names_in(plan.root / "benchmarks" / "students"):
        from kdx2i.stages.ship import ship_student

        print(ship_student(plan, plan.student(name)))
        return
    from kdx2i.inspection.ship import ship_teacher
    from kdx2i.inspection.ship_encoder import ship_encoder
    from kdx2i.inspection.ship_features import ship_features

    if name in plan.feature_networks:
        print(ship_features(plan, name))
        return
    if name in plan.encoders:
        print(ship_encoder(plan, plan.encoder(name)))
        return
    print(ship_teacher(plan, plan.teacher(name)))


@app.command()
def score_teacher(
    name: Annotated[str, typer.Argument(help="Name in benchmarks/teachers.")],
    preset: Preset = "open",
) -> None:
    """Score a shipped teacher's samples against its training drawings, and look for copies of them."""
    from kdx2i.stages.teacher_scores import score_teacher as score

    print(score(asked_plan(preset), name))
