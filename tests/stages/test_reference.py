"""The export of reference results: current results only, evidence kept, an old export replaced."""

import pytest

from kdx2i.errors import UserError
from kdx2i.files import write_text
from kdx2i.inspection.reference import export
from kdx2i.suite import make_plan
from tests.support.repository import clone, fabricate, fabricate_all


@pytest.fixture
def plan(tmp_path):
    plan = make_plan(clone(tmp_path / "repository"), "open-smoke")
    fabricate_all(plan, "table1")
    fabricate(plan, plan.rendered("table1"))
    return plan


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
