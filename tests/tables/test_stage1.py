"""A row whose student has not been distilled says so wherever it is shown."""

import csv
import io
from pathlib import Path

import pytest
from repository import fabricate, fabricate_all, settings_copy
from rich.console import Console
from shipped import FILE, metrics, pretend_shipped

from kdx2i.files import read_json, write_json
from kdx2i.plan import Plan
from kdx2i.provenance import write_provenance
from kdx2i.suite import make_plan
from kdx2i.tables.comparison import compare, comparison_rows
from kdx2i.tables.comparison_screen import print_comparison
from kdx2i.tables.gather import build_table
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.model import Table
from kdx2i.tables.published import read_published
from kdx2i.tables.render import render_csv, render_latex, render_markdown, write_table
from kdx2i.tables.screen import UNDISTILLED_MARK, print_table
from kdx2i.tables.stage1 import StudentMeasures, sentences
from kdx2i.tables.stage1 import render_markdown as render_students


def table_of(plan: Plan, *, distilled: dict[int, bool]) -> Table:
    """Return Table 1 from made-up results whose students of kd are distilled, or are not, by seed."""
    fabricate_all(plan, "table1")
    for seed, verdict in distilled.items():
        leaf = plan.distilled("stargan_v2", "kd", 32, seed)
        write_json(leaf.file("metrics.json"), metrics(distilled=verdict))
        write_provenance(plan, leaf)
    return build_table(plan, "table1", lambda leaf: read_json(leaf.file("metrics.json")))


def labels(table: Table) -> set[str]:
    return {row.shown for part in table.parts for row in part.methods() if row.stage1}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(settings_copy(tmp_path_factory.mktemp("stage1")), "open-smoke")


@pytest.fixture(scope="module")
def marked(plan: Plan) -> Table:
    return table_of(plan, distilled={0: False})


def test_every_rendering_says_that_a_student_is_not_distilled(plan: Plan, marked: Table, tmp_path: Path) -> None:
    published = read_published(plan.root, "table1")
    wanted = labels(marked)
    assert wanted and all(label.endswith(" (not distilled)") for label in wanted)
    screen = Console(width=200, record=True, file=io.StringIO())
    print_table(marked, published, screen)
    text = screen.export_text()
    for label in wanted:
        assert f"| {label} |".replace("*", r"\*") in render_markdown(marked, published)
        assert f"{label} &" in render_latex(marked, published)
        assert label.replace(" (not distilled)", UNDISTILLED_MARK) in text
    assert "such a student does not beat its yardsticks" in " ".join(text.split())
    lines = list(csv.DictReader(io.StringIO(render_csv(marked, published))))
    runs = [(line["transfer"] == "kd" and line["used_resolution"] == "32", line["stage1"]) for line in lines]
    assert set(runs) == {(True, "not distilled"), (False, "")}
    write_table(marked, published, tmp_path)
    assert labels(load_table_json(tmp_path / "table1.json")) == wanted


def test_a_comparison_says_so_too(plan: Plan, marked: Table) -> None:
    published = {"table1": read_published(plan.root, "table1")}
    comparison = compare([marked], published)
    rows = comparison_rows(comparison)
    names = {row.label for part in marked.parts for row in part.methods() if row.stage1}
    assert names
    for kind in ("cell", "gain"):
        assert {row["stage1"] for row in rows if row["kind"] == kind and row["label"] in names} == {"not distilled"}
        assert {row["stage1"] for row in rows if row["kind"] == kind and row["label"] not in names} <= {""}
    screen = Console(width=250, record=True, file=io.StringIO())
    print_comparison(comparison, screen)
    assert "(not distilled)" in screen.export_text()


def test_a_distilled_student_leaves_no_mark(plan: Plan) -> None:
    table = table_of(plan, distilled={0: True})
    assert labels(table) == set()
    assert "not distilled" not in render_markdown(table, read_published(plan.root, "table1"))


def test_only_some_seeds_are_named(plan: Plan) -> None:
    table = table_of(plan.for_preset("open-smoke", [0, 1, 2]), distilled={0: True, 1: False, 2: True})
    assert {label.partition(" (")[2] for label in labels(table)} == {"not distilled: seed 1)"}


@pytest.mark.parametrize("distilled", [True, False])
def test_a_shipped_student_marks_its_rows_by_the_measures_that_it_was_shipped_with(
    tmp_path: Path, *, distilled: bool
) -> None:
    plan = pretend_shipped(settings_copy(tmp_path), distilled=distilled)
    for leaf in plan.table("table1").upstream():
        assert leaf.kind.name != "distilled"  # Table 1 needs no other student
        fabricate(plan, leaf)
    table = build_table(plan, "table1", lambda leaf: read_json(leaf.file("metrics.json")))
    assert bool(labels(table)) is not distilled


def test_a_student_in_words(tmp_path: Path) -> None:
    plan = pretend_shipped(settings_copy(tmp_path), distilled=False)
    student = StudentMeasures(plan.student("tiny-kd").spec, metrics(distilled=False), FILE)
    assert sentences(student) == [
        f"stage 1: stargan_v2 kd at 32 px, {FILE}",
        "  by reference: L1 0.200, copy 0.300, constant 0.300, shuffled 0.250, response 0.70, retrieval 60 %",
        "  by latent: L1 0.200, copy 0.300, constant 0.300, shuffled 0.250, response 0.70, retrieval 60 %",
        "  alignment, encoder: 32 px 0.50",
        "  not distilled: made up",
    ]
    line = r"| stargan\_v2 kd (shipped) | 32 | 0 | latent | 0.200 | 0.300 | 0.300 | 0.250 | 0.70 | 60 | not distilled |"
    assert line in render_students([student])
