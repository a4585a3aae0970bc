"""A published checkpoint that a preset names is a row beside the reproduced one, with the numbers of its weights."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from published_files import SMALL, small_method, write_published
from repository import fabricate, settings_copy

from kdx2i.cli import main
from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.methods.official_models import read_published
from kdx2i.plan import Plan
from kdx2i.suite import make_plan

DATASET, RESOLUTION = "open-birds", 32
METHOD = ["--dataset", DATASET, "--architecture", "stargan_v2", "--transfer", "official", "--resolution", "32"]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The smallest preset, with a file in the published layout that it names."""
    root = settings_copy(tmp_path / "root")
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    monkeypatch.chdir(root)
    own = make_plan(root, "open-smoke")
    networks = own.run(DATASET, "stargan_v2", "scratch", RESOLUTION, 0).spec.networks
    small = replace(SMALL["stargan_v2"], networks=networks, resolution=RESOLUTION, classes=8)
    write_published(small, small_method(small), root / "weights")
    preset = {
        "name": "with-official",
        "title": "one file of its authors",
        "extends": "open-smoke",
        "official": {"stargan_v2": {DATASET: {RESOLUTION: "weights/100000_nets_ema.ckpt"}}},
    }
    (root / "benchmarks" / "presets" / "with-official.yaml").write_text(yaml.safe_dump(preset))
    return make_plan(root, "with-official")


def test_the_row_stands_behind_its_baseline_and_is_scored_as_the_file_is(plan: Plan, tmp_path: Path) -> None:
    labels = [row.label for row in plan.table("table1").config.rows if row.part == "latent"]
    assert labels[labels.index("StarGANv2*") + 1] == "StarGANv2*, official weights"
    asked = ["--preset", "with-official"]
    assert main(["split", "--dataset", DATASET, *asked]) == 0
    assert main(["train", *METHOD, *asked]) == 0
    leaf = plan.evaluation(DATASET, "stargan_v2", "official", RESOLUTION, 0, "latent")
    for role, upstream in leaf.inputs.items():
        if role == "classifier":
            assert main(["classifier", "--dataset", DATASET, "--resolution", "32", *asked]) == 0, upstream
    assert main(["evaluate", *METHOD, "--mode", "latent", *asked]) == 0
    values = read_document(leaf.file("metrics.json"))["values"]
    words = ["--checkpoint", "weights/100000_nets_ema.ckpt", "--architecture", "stargan_v2", "--dataset", DATASET]
    assert main(["score", *words, *asked, "--mode", "latent", "--json", str(tmp_path / "v.json")]) == 0
    assert read_document(tmp_path / "v.json")["values"] == values


def test_a_file_that_lacks_a_mode_of_the_row_is_refused(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As SEAN's published file, which has no styles for maps without a reference."""
    assert main(["split", "--dataset", DATASET, "--preset", "with-official"]) == 0

    def one_mode(*words: Any) -> Any:
        return replace(read_published(*words), modes=("reference",))

    monkeypatch.setattr("kdx2i.stages.official_run.read_published", one_mode)
    capsys.readouterr()
    assert main(["train", *METHOD, "--preset", "with-official"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "cannot be asked in every mode of a row of stargan_v2" in said
    assert "`kdx2i score --checkpoint` scores it by reference" in said


def test_a_table_has_the_row_and_no_budget_for_it(plan: Plan) -> None:
    for leaf in plan.table("table1").upstream():
        fabricate(plan, leaf)
    assert main(["table", "table1", "--preset", "with-official"]) == 0
    with (plan.root / plan.results / "tables" / "table1.csv").open(encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["label"] == "StarGANv2*, official weights"]
    assert {row["part"] for row in rows} == {"latent", "reference"}
    assert {row["transfer"] for row in rows} == {"official"}
    birds = [row for row in rows if row["dataset"] == "birds"]
    assert birds
    assert all(row["value"] and not row["stage2_share"] for row in birds)


def test_without_a_named_file_there_is_no_such_row_and_no_such_run(plan: Plan) -> None:
    other = make_plan(plan.root, "open-smoke")
    assert not [row for row in other.table("table1").config.rows if row.transfer == "official"]
    with pytest.raises(UserError, match="names no official weights of stargan_v2 for open-birds at 32 px"):
        other.run(DATASET, "stargan_v2", "official", RESOLUTION, 0)


def test_a_changed_file_is_another_run(plan: Plan) -> None:
    before = plan.run(DATASET, "stargan_v2", "official", RESOLUTION, 0).identity
    (plan.root / "weights" / "100000_nets_ema.ckpt").write_bytes(b"another")
    again = make_plan(plan.root, "with-official").run(DATASET, "stargan_v2", "official", RESOLUTION, 0)
    assert again.identity != before
