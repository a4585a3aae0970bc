"""References: current results only, evidence and spread kept, and runs set beside them or refused with the reason."""

import io
import shutil

import pytest
from rich.console import Console

from kdx2i.errors import UserError
from kdx2i.files import read_json, write_json, write_text
from kdx2i.inspection.reference import export
from kdx2i.provenance import write_provenance
from kdx2i.stages import table
from kdx2i.stages.agree import agree, line, other_origin
from kdx2i.suite import make_plan
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.replicates import read_replicates
from tests.support.repository import ROOT, clone, fabricate, fabricate_all


@pytest.fixture
def plan(tmp_path):
    plan = make_plan(clone(tmp_path / "repository"), "open-smoke", [0, 1, 2])
    fabricate_all(plan, "table1")
    table.run(plan, plan.rendered("table1"))
    return plan


@pytest.fixture
def elsewhere(plan, tmp_path):
    """The same results from another machine: other numbers, the same identities."""
    folder = tmp_path / "elsewhere"
    shutil.move(plan.root / plan.results, folder)
    for leaf in plan.table("table1").upstream():
        if leaf.kind.name == "split":
            continue
        fabricate(plan, leaf)
        if leaf.kind.name == "evaluation":
            values = read_json(leaf.file("metrics.json"))["values"]
            for entry in values.values():
                entry["value"] *= 1.001
            write_json(leaf.file("metrics.json"), {"values": values})
        write_provenance(plan, leaf, device="cpu: another")
    table.run(plan, plan.rendered("table1"))
    return folder


def test_tables_metrics_and_provenance_are_kept_and_weights_are_not(plan):
    folder = export(plan, ["table1"], "trial")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert "tables/table1.csv" in names
    assert "tables/table1.provenance.json" in names
    runs = [leaf for leaf in plan.table("table1").upstream() if leaf.kind.name == "run"]
    evaluations = [leaf for leaf in plan.table("table1").upstream() if leaf.kind.name == "evaluation"]
    for leaf in [*runs, *evaluations]:
        assert (leaf.directory.relative_to(plan.results) / "provenance.json").as_posix() in names
    for leaf in evaluations:
        assert (leaf.directory.relative_to(plan.results) / "metrics.json").as_posix() in names
    assert not [name for name in names if name.endswith(".safetensors")]


def test_a_stale_result_is_not_exported_and_the_old_export_stays(plan):
    folder = export(plan, ["table1"], "trial")
    leaf = next(leaf for leaf in plan.table("table1").upstream() if leaf.kind.name == "evaluation")
    write_text(leaf.file("metrics.json"), "{}")
    with pytest.raises(UserError, match=leaf.name):
        export(plan, ["table1"], "trial")
    assert (folder / "tables" / "table1.csv").is_file()


def test_a_new_export_replaces_the_old_one(plan):
    folder = export(plan, ["table1"], "trial")
    write_text(folder / "left-over.txt", "from an older export")
    export(plan, ["table1"], "trial")
    assert not (folder / "left-over.txt").exists()


def test_a_further_table_is_added_and_the_others_stay(plan):
    export(plan, ["table1"], "trial")
    fabricate_all(plan, "table3")
    table.run(plan, plan.rendered("table3"))
    folder = export(plan, ["table3"], "trial", add=True)
    assert {"table1.csv", "table3.csv"} <= {path.name for path in (folder / "tables").iterdir()}
    first = read_replicates(folder / "spread.csv")
    assert {item.cell.table for item in first} == {"table1", "table3"}
    export(plan, ["table3"], "trial", add=True)
    assert sorted(read_replicates(folder / "spread.csv")) == sorted(first)


def test_a_reference_records_its_spread_and_a_run_is_set_beside_it(plan, elsewhere):
    export(plan, ["table1"], "alone")
    reference = export(plan, ["table1"], "open-smoke", also=[elsewhere])
    replicates = read_replicates(reference / "spread.csv")
    assert {item.machine.partition(",")[0] for item in replicates} == {"cpu", "cpu: another"}
    assert {item.seed for item in replicates} == {0, 1, 2}
    outcome = agree(plan, reference)
    assert outcome.agreement.agrees
    assert outcome.agreement.basis == "machines"
    assert agree(plan, reference.with_name("alone")).agreement.basis == "seeds"
    console = Console(file=io.StringIO(), width=200)
    line(plan, "table1", console, named=True)
    assert console.file.getvalue().startswith("AGREES with results/reference/open-smoke, table1: ")


def test_two_folders_of_one_machine_show_no_spread(plan, tmp_path):
    shutil.copytree(plan.root / plan.results, tmp_path / "copy")
    with pytest.raises(UserError, match="was made on one machine"):
        export(plan, ["table1"], "trial", also=[tmp_path / "copy"])


def test_a_reference_that_was_made_otherwise_is_refused_with_the_reason(plan):
    reference = export(plan, ["table1"], "open-smoke")
    path = plan.root / "benchmarks" / "presets" / "open-smoke.yaml"
    before = path.read_text(encoding="utf-8")
    for change, reason in (
        (("train: {iterations: 2, batch: 2}", "train: {iterations: 3, batch: 2}"), "has another budget there"),
        (("images_per_class: 2", "images_per_class: 3"), "made with other settings .evaluation.images_per_class"),
    ):
        write_text(path, before.replace(*change))
        other = make_plan(plan.root, "open-smoke", [0, 1, 2])
        fabricate_all(other, "table1")
        table.run(other, other.rendered("table1"))
        with pytest.raises(UserError, match=reason):
            agree(other, reference)
    console = Console(file=io.StringIO(), width=200)
    line(other, "table1", console, named=True)
    assert "cannot be compared with results/reference/open-smoke" in console.file.getvalue()


def test_a_reference_of_other_code_is_compared_and_says_so(plan, elsewhere):
    reference = export(plan, ["table1"], "open-smoke", also=[elsewhere])
    assert not agree(plan, reference).other_code
    for path in reference.rglob("*provenance.json"):
        record = read_json(path) | {"code_sha256": "0" * 64, "identity": "1" * 64, "git_commit": "c0ffee"}
        record["spec"]["gone"] = 1  # a setting that went with the code, and one that came with it
        record["spec"].get("train", {}).pop("precision", None)
        write_json(path, record)
    outcome = agree(plan, reference)
    assert outcome.agreement.agrees
    assert outcome.other_code.startswith("The reference was made by other code (commit c0ffee)")
    assert outcome.other_code in outcome.notes
    evaluation = next(path for path in reference.rglob("latent/provenance.json"))
    write_json(evaluation, read_json(evaluation) | {"split_sha256": "2" * 64})
    with pytest.raises(UserError, match="it was made from another split"):
        agree(plan, reference)


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_the_default_command_can_be_set_beside_its_committed_reference(name):
    """What the reference was made from is what the default makes today, but for code."""
    folder = ROOT / "results" / "reference" / "open"
    reference = load_table_json(folder / "tables" / f"{name}.json")
    assert other_origin(make_plan(ROOT, "open"), folder, reference) is None


def test_one_seed_from_one_machine_is_no_spread(plan):
    one = make_plan(plan.root, "open-smoke", [0])
    table.run(one, one.rendered("table1"))
    reference = export(one, ["table1"], "one")
    with pytest.raises(UserError, match="records no spread"):
        agree(one, reference)
