"""Renderings: every row in each, stand-ins called stand-ins, the same bytes every time."""

import csv
import io
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kdx2i.config import TableConfig, load_table
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.assemble import Absent, assemble
from kdx2i.tables.layout import notes, stand_in_line
from kdx2i.tables.model import Budget, Table, TeacherNote, budget_text
from kdx2i.tables.plot import render_plot
from kdx2i.tables.published import read_published
from kdx2i.tables.render import RENDERERS, load_table_json, print_table, write_plot, write_table

ROOT = Path(__file__).parents[2]
NAMES = ["table1", "table2", "table3", "table5", "figure3b"]


def some(kit: Any, name: str, *, stand_in: bool) -> Table:
    """A table of the repository with values that are the same in every process."""
    config = load_table(ROOT, name)
    rng = random.Random(7)
    return kit.table(config, lambda key, seed, metric: rng.random() * 100, stand_in=stand_in, iterations=200)


def printed_screen(table: Table, name: str) -> str:
    buffer = io.StringIO()
    print_table(table, read_published(ROOT, name), Console(file=buffer, width=200))
    return buffer.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_in_every_rendering(kit: Any, name: str) -> None:
    table, published = some(kit, name, stand_in=True), read_published(ROOT, name)
    blocks = sum(len(part.datasets) for part in table.parts)
    rows = sum(len(part.rows) * len(part.datasets) for part in table.parts)
    markdown = RENDERERS["md"](table, published)
    assert markdown.count("\n## ") == blocks
    assert sum(line.startswith("| ") for line in markdown.splitlines()) == rows + 2 * blocks
    lines = list(csv.DictReader(io.StringIO(RENDERERS["csv"](table, published))))
    assert len(lines) == sum(len(row.cells) for part in table.parts for row in part.rows)
    for value in published.values():
        assert value.printed.removesuffix("%") in markdown
        assert any(line["published"] == value.printed and line["label"] == value.name.label for line in lines)
    screen = printed_screen(table, name)
    for part in table.parts:
        for row in part.methods():
            assert row.label.split(",")[0] in screen  # a long one goes on in the next line


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_is_never_called_a_reproduction(kit: Any, name: str) -> None:
    published = read_published(ROOT, name)
    table = some(kit, name, stand_in=True)
    line = stand_in_line(table)
    assert line.startswith("Not a reproduction of the paper's absolute values:")
    used = {f"open-{d} stands in for {d}" for part in table.parts for d in part.datasets}
    assert all(text in line for text in used)
    assert "64 px stand in for 256 px" in line
    assert "Not a reproduction" in RENDERERS["md"](table, published)
    assert "Not a reproduction" in RENDERERS["tex"](table, published)
    assert "Not a reproduction" in printed_screen(table, name).replace("\n", " ")
    paper = some(kit, name, stand_in=False)
    assert stand_in_line(paper) == ""
    assert "Not a reproduction" not in RENDERERS["md"](paper, published)


def test_the_same_bytes_in_another_process(kit: Any, tmp_path: Path) -> None:
    name = "figure3b"
    table, published = some(kit, name, stand_in=True), read_published(ROOT, name)
    write_table(table, published, tmp_path / "here")
    write_plot(table, published, tmp_path / "here")
    script = (
        "import sys; from pathlib import Path\n"
        "from kdx2i.tables.published import read_published\n"
        "from kdx2i.tables.render import load_table_json, write_plot, write_table\n"
        "root, source, out, name = sys.argv[1:]\n"
        "table, published = load_table_json(Path(source)), read_published(Path(root), name)\n"
        "write_table(table, published, Path(out)); write_plot(table, published, Path(out))\n"
        "assert 'torch' not in sys.modules\n"
    )
    source = tmp_path / "here" / f"{name}.json"
    arguments = [str(ROOT), str(source), str(tmp_path / "there"), name]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, env=environment)
    files = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert files == sorted(f"{name}.{suffix}" for suffix in ("csv", "md", "tex", "json", "svg", "png"))
    for file in files:
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes()


def test_json_reads_back_and_other_files_are_refused(kit: Any, tmp_path: Path) -> None:
    table, published = some(kit, "table1", stand_in=True), read_published(ROOT, "table1")
    write_table(table, published, tmp_path)
    assert load_table_json(tmp_path / "table1.json") == table
    path = tmp_path / "other.json"
    path.write_text('{"format": "another"}', encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.json is not a table"):
        load_table_json(path)
    text = (tmp_path / "table1.json").read_text(encoding="utf-8")
    path.write_text(text.replace('"mean"', '"means"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.json is not a whole table: parts\.0"):
        load_table_json(path)
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.json is not a readable JSON"):
        load_table_json(path)


def test_csv_keeps_full_precision_beside_the_rounded_value(kit: Any, small: TableConfig) -> None:
    table = kit.table(small, lambda key, seed, metric: 100 / 3 + seed)
    line = next(csv.DictReader(io.StringIO(RENDERERS["csv"](table, {}))))
    cell = table.parts[0].rows[0].cells[0]
    assert float(line["value"]) == cell.mean
    assert line["rounded"] == "34.3"
    assert [float(text) for text in line["seed_values"].split()] == list(cell.values)
    assert (line["seeds"], line["n_real"], line["n_generated"], line["classes"]) == ("0 1 2", "20", "40", "2")
    assert line["stage2_share"] == "1.0"


def test_latex_rows_fit_the_tabular_and_nothing_is_left_unescaped(kit: Any, small: TableConfig) -> None:
    table = kit.table(small, lambda key, seed, metric: 1.5, stand_in=True)
    text = RENDERERS["tex"](table, {})
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert columns is not None
    for line in text.splitlines():
        if line.endswith(r"\\") and not line.startswith(r"\multicolumn"):
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1
    body = text.split("\n", 1)[1]
    assert r"Numbers \& notes." in body
    assert "†" not in body
    assert r"Ours \textdagger{}" in body
    assert not re.search(r"(?<!\\)[%#]", body)
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")


def test_notes_say_what_is_absent_and_what_was_spent(kit: Any, small: TableConfig) -> None:
    evaluations = kit.evaluations(small, lambda key, seed, metric: 5.0)
    keys = kit.keys(small)
    evaluations[keys[0]] = [Absent("not yet computed: architecture sdit is not implemented")]
    evaluations[keys[2]] = [*evaluations[keys[2]][:2], Absent("stale", 2)]
    table = assemble(small, kit.context(small, stand_in=True), evaluations, {}, kit.budgets(small, 200))
    text = RENDERERS["md"](table, {})
    assert r"| Old\* | 32 for 128 | not yet computed | – | not yet computed | – |  |" in text
    assert r"- Old\* (32 for 128 px): not yet computed: architecture sdit is not implemented." in text
    assert "5.0 ± 0.0 (2 of 3 seeds)" in text
    assert "- Base (64 for 256 px): seed 2: stale." in text
    assert "stage 2: 200 of the paper's 100,000 generator updates (0.2%)" in text
    assert "_Real against real_ | 32 for 128 | missing" in text
    assert "20/40 in 2 classes" in text


def test_one_seed_says_so(kit: Any, small: TableConfig) -> None:
    text = RENDERERS["md"](kit.table(small, lambda key, seed, metric: 5.0, seeds=(3,)), {})
    assert "5.0¹" in text
    assert "¹ one seed, no interval over seeds" in text
    assert "±" not in text


def test_adopted_trainings_are_counted_in_the_notes(kit: Any, small: TableConfig) -> None:
    table = some(kit, "table1", stand_in=True)
    assert not [line for line in notes(table, {}) if "adopted" in line]
    (told,) = [line for line in notes(table.model_copy(update={"adopted": 3}), {}) if "adopted" in line]
    assert told.startswith("3 of the trainings behind the cells are adopted: made by earlier code")


def test_no_row_has_run(kit: Any, small: TableConfig) -> None:
    text = RENDERERS["md"](assemble(small, kit.context(small), {}, {}, {}), {})
    assert "- Budget: no row has run." in text


def test_budgets_are_written_with_their_batches() -> None:
    budget = Budget(distill=400, distill_paper=20000, train=2000, distill_batch=8, distill_batch_paper=2, train_batch=8)
    assert budget_text(budget) == (
        "stage 1: 400 of the paper's 20,000 iterations (2%), batch 8 for 2; stage 2: 2,000 generator updates, batch 8"
    )
    assert budget.distill_share == 0.02
    assert budget.train_share is None
    assert budget.differs()
    assert not Budget(train=100, train_paper=100).differs()


@pytest.mark.parametrize(("value", "text"), [(-0.001, "0.00"), (0.0, "0.00"), (-0.01, "-0.01"), (9.005, "9.01")])
def test_a_value_that_rounds_to_zero_has_no_sign(value: float, text: str) -> None:
    assert METRICS["mKIDx100"].text(value) == text


def test_printed_numbers_are_drawn_only_under_the_papers_conditions(kit: Any) -> None:
    config = load_table(ROOT, "figure3b")
    published = read_published(ROOT, "figure3b")
    table = kit.table(config, lambda key, seed, metric: 100.0 + seed)
    drawn = render_plot(table, published, "svg")
    assert drawn == render_plot(table, published, "svg")
    assert drawn != render_plot(table, {}, "svg")
    stand_in = kit.table(config, lambda key, seed, metric: 100.0 + seed, stand_in=True)
    assert render_plot(stand_in, published, "svg") == render_plot(stand_in, {}, "svg")
    empty = assemble(config, kit.context(config), {}, {}, {})
    assert render_plot(empty, published, "png").startswith(b"\x89PNG")


def test_a_row_whose_teacher_has_seen_the_data_says_so_where_it_has(kit: Any, tmp_path: Path) -> None:
    table, published = some(kit, "table1", stand_in=True), read_published(ROOT, "table1")
    text = "the teacher objects was trained on 3 of the 4 training images of open-birds"
    note = TeacherNote(architecture="deepi2i", transfer="scratch", resolution=128, dataset="birds", text=text)
    noted = table.model_copy(update={"teachers": (note,)})
    (tmp_path / "table1.json").write_text(RENDERERS["json"](noted, published))
    assert load_table_json(tmp_path / "table1.json") == noted
    markdown = RENDERERS["md"](noted, published)
    assert markdown.count("| DeepI2I² |") == 1
    assert f"² DeepI2I (32 for 128 px): {text}." in markdown
    assert "²" not in RENDERERS["md"](table, published)
    assert r"DeepI2I\textsuperscript{2}" in RENDERERS["tex"](noted, published)
    lines = csv.DictReader(io.StringIO(RENDERERS["csv"](noted, published)))
    told = {(line["label"], line["dataset"]) for line in lines if text in line["departures"]}
    assert told == {("DeepI2I", "birds")}
