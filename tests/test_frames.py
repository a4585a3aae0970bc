"""What notebooks load: the same numbers as the tables' own files, one row a seed, and whether they are current."""

import csv
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from repository import ROOT, assert_not_imported, fabricate, run, settings_copy

import kdx2i
from kdx2i.errors import UserError
from kdx2i.files import write_json, write_text
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import write_provenance
from kdx2i.stages import table as table_stage
from kdx2i.suite import make_plan

THREE_SEEDS = "open"
NEXT = "-- next block --"
CELL = ["table", "part", "label", "resolution", "dataset", "metric"]


@pytest.fixture
def results() -> pd.DataFrame:
    return kdx2i.load_results(THREE_SEEDS, root=ROOT, reference=True)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A repository whose Table 1 was made with two seeds; the second one has no mFID."""
    plan = make_plan(settings_copy(tmp_path), "open-smoke", [0, 1])
    for leaf in plan.table("table1").upstream():
        if leaf.kind.name == "evaluation":
            evaluated(plan, leaf)
        else:
            fabricate(plan, leaf)
    table_stage.run(plan, plan.rendered("table1"))
    return plan


def evaluated(plan: Plan, leaf: Leaf) -> None:
    """Make up an evaluation whose numbers tell the seed."""
    fabricate(plan, leaf)
    seed = leaf.spec.seed
    entry = {"value": 10.0 + seed, "standard_error": 1.0 + seed, "n_real": 100 + seed, "n_generated": 200 + seed}
    lacking = {"value": None, "reason": "too few images"}
    values = {"mFID": lacking if seed else entry, "mKIDx100": entry, "RC": entry, "FC": entry}
    write_json(leaf.file("metrics.json"), {"values": values})
    write_provenance(plan, leaf)


def test_importing_the_package_imports_neither_torch_nor_pandas() -> None:
    assert_not_imported("import kdx2i, kdx2i.workflow, kdx2i.cli", "torch", "pandas", "matplotlib", "scipy.stats")
    assert_not_imported("from kdx2i import load_published, load_results", "torch")


def test_what_is_imported_on_demand_is_named_and_nothing_else_is_there() -> None:
    assert {"load_published", "load_results", "__version__"} <= set(dir(kdx2i))
    with pytest.raises(AttributeError, match="no attribute 'load_everything'"):
        _ = kdx2i.load_everything


def test_every_cell_has_the_numbers_of_the_tables_own_csv(results: pd.DataFrame) -> None:
    tables = sorted((ROOT / "results/reference" / THREE_SEEDS / "tables").glob("table*.csv"))
    lines = [line for path in tables for line in csv.DictReader(path.read_text(encoding="utf-8").splitlines())]
    assert {line["table"] for line in lines} == {"table1", "table2"}
    rows = dict(iter(results.groupby(CELL, sort=False)))
    assert len(rows) == len(lines)
    for line in lines:
        group = rows[tuple(int(line[name]) if name == "resolution" else line[name] for name in CELL)]
        assert len(group) == (3 if line["kind"] == "method" else 1)
        values = group["value"].dropna()
        stated = line["seed_values"] if line["kind"] == "method" else line["value"]
        assert [repr(value) for value in values] == stated.split()
        for name in ("value", "low", "high"):
            column = "mean" if name == "value" else name
            assert {"" if pd.isna(value) else repr(value) for value in group[column]} == {line[name]}
        for name in ("used_dataset", "mode", "kind", "direction", "architecture", "transfer"):
            assert set(group[name].fillna("")) == {line[name]}
        assert set(group["absent"].fillna("")) == {line["absent"]}


def test_each_seed_has_its_own_error_and_counts(results: pd.DataFrame) -> None:
    row = results.query(
        "part == 'latent' and label == 'Ours' and dataset == 'animal-faces' and metric == 'mFID' and seed == 2"
    ).squeeze()
    run = ROOT / "results/reference" / THREE_SEEDS / "runs/open-animal-faces/stargan_v2/kd/r32/s2/latent"
    entry = json.loads((run / "metrics.json").read_text())["values"]["mFID"]
    assert (row["value"], row["standard_error"]) == (entry["value"], entry["standard_error"])
    assert (row["n_real"], row["n_generated"]) == (entry["n_real"], entry["n_generated"])


def test_controls_are_there_marked_and_without_seed(results: pd.DataFrame) -> None:
    controls = results.query("kind == 'control' and table == 'table1'")
    assert set(controls["label"]) == {"Real against real", "Input copied", "Class mean", "Blank", "Noise images"}
    assert controls["seed"].isna().all() and controls["value"].notna().all()
    assert results.loc[results["kind"] == "method", "seed"].notna().all()


def test_a_reference_of_other_code_is_not_current(results: pd.DataFrame) -> None:
    for name, rows in results.groupby("table"):
        path = ROOT / "results/reference" / THREE_SEEDS / f"tables/{name}.provenance.json"
        assert set(rows["identity"]) == {json.loads(path.read_text())["identity"]}
    assert not results["current"].any()


def test_own_results_are_read_with_their_seeds_and_reasons(plan: Plan) -> None:
    frame = kdx2i.load_results("open-smoke", root=plan.root)
    assert frame["current"].all() and set(frame["preset"]) == {"open-smoke"}
    cell = frame.query("label == 'Ours*' and dataset == 'birds' and part == 'latent'").set_index(["metric", "seed"])
    assert cell.loc[("RC", 1), ["value", "standard_error", "mean", "n_real", "n_generated"]].tolist() == [
        11.0, 2.0, 10.5, 101, 201,
    ]  # fmt: skip
    assert cell.loc[("mFID", 0), ["value", "standard_error", "n_generated"]].tolist() == [10.0, 1.0, 200]
    assert pd.isna(cell.loc[("mFID", 1), "value"])
    assert cell.loc[("mFID", 1), "absent"] == "not available: too few images"
    assert pd.isna(cell.loc[("mFID", 0), "absent"])


def test_a_stale_or_altered_table_is_not_current(plan: Plan) -> None:
    path = plan.root / "benchmarks/presets/open-smoke.yaml"
    before = path.read_text()
    data = yaml.safe_load(before)
    data["evaluation"]["images_per_class"] = 3
    path.write_text(yaml.safe_dump(data))
    assert not kdx2i.load_results("open-smoke", root=plan.root)["current"].any()
    path.write_text(before)
    assert kdx2i.load_results("open-smoke", root=plan.root)["current"].all()
    table = plan.rendered("table1").file("table1.json")
    table.write_text(table.read_text() + "\n")
    assert not kdx2i.load_results("open-smoke", root=plan.root)["current"].any()


def test_an_evaluation_that_was_made_again_lends_its_error_to_no_older_number(plan: Plan) -> None:
    leaf = plan.evaluation("open-birds", "stargan_v2", "kd", 32, 1, "latent")
    record = json.loads(leaf.provenance_path.read_text())
    write_json(leaf.provenance_path, {**record, "identity": "another"})
    frame = kdx2i.load_results("open-smoke", root=plan.root, tables="table1")
    errors = frame.query("label == 'Ours*' and dataset == 'birds' and part == 'latent' and metric == 'RC'")
    assert errors["value"].tolist() == [10.0, 11.0]
    assert errors["standard_error"].tolist()[0] == 1.0 and errors["standard_error"].isna().tolist() == [False, True]


def test_types_do_not_depend_on_what_is_there(results: pd.DataFrame, plan: Plan) -> None:
    rendered = plan.rendered("table2")  # of no architecture of this preset
    for leaf in rendered.upstream():
        if leaf is not rendered:
            fabricate(plan, leaf)
    table_stage.run(plan, rendered)
    empty = kdx2i.load_results("open-smoke", root=plan.root, tables="table2")
    assert empty["value"].isna().all() and set(empty["table"]) == {"table2"}
    assert empty.dtypes.to_dict() == results.dtypes.to_dict()


def test_a_preset_may_be_a_file(plan: Plan) -> None:
    source = plan.root / "benchmarks/presets/open-smoke.yaml"
    assert kdx2i.load_results(str(source), root=plan.root)["current"].all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"preset": "open-smoke"}, r"^results/open-smoke has no tables: make one first"),
        ({"preset": "opne"}, "there is no preset `opne`; the presets are open"),
        ({"preset": "opne", "reference": True}, "^results/reference/opne has no tables"),
        ({"preset": "open", "reference": True, "tables": ["table9"]}, "has no table `table9`; there are table1"),
        ({"preset": "open", "root": "/"}, "^/ is not the kdx2i repository"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], sentence: str
) -> None:
    root = ROOT if arguments.get("reference") else settings_copy(tmp_path)
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    with pytest.raises(UserError, match=sentence):
        kdx2i.load_results(**arguments)


def test_a_broken_provenance_is_named(plan: Plan) -> None:
    path = plan.rendered("table1").provenance_path
    write_text(path, "[]")
    with pytest.raises(UserError, match=re.escape(path.name)):
        kdx2i.load_results("open-smoke", root=plan.root)


def test_published_numbers_keep_their_printed_text() -> None:
    for name in ("table1", "table2", "table7", "figure3b", "section4_1"):
        frame = kdx2i.load_published(name, root=ROOT)
        with (ROOT / f"benchmarks/published/{name}.csv").open(encoding="utf-8") as handle:
            lines = list(csv.DictReader(handle))
        assert frame["printed"].tolist() == [line["value"] for line in lines]
        assert frame["value"].tolist() == [float(line["value"].removesuffix("%")) for line in lines]
        for column in ("table", "part", "dataset", "label", "metric", "direction", "note"):
            assert frame[column].fillna("").tolist() == [line[column] for line in lines]
    assert "8.90" in kdx2i.load_published("table1", root=ROOT)["printed"].tolist()
    contradicted = kdx2i.load_published("table7", root=ROOT).query("contradicted")
    assert contradicted["printed"].tolist() == ["2.46"]


def test_an_unknown_published_table_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no published numbers of `table9`; the tables are appendix_b4, figure3b"):
        kdx2i.load_published("table9", root=ROOT)


def test_the_page_says_what_its_code_prints() -> None:
    page = (ROOT / "docs/notebooks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == page.count("```python") == 3
    done = run(ROOT, sys.executable, "-c", f"print('{NEXT}')\n".join(code for code, _ in blocks))
    assert done.returncode == 0, done.stderr
    printed = [text.split() for text in done.stdout.split(NEXT)]
    assert printed == [shown.split() for _, shown in blocks]


def test_the_page_explains_every_column(results: pd.DataFrame) -> None:
    page = (ROOT / "docs/notebooks.md").read_text(encoding="utf-8")
    assert [name for name in results.columns if f"`{name}`" not in page] == []
