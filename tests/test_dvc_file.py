"""`dvc.yaml` says of results and splits what the table of kinds, the presets and the teachers' recipes say."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdx2i.config import load_dataset, load_preset, names_in
from kdx2i.identity import code_closure
from kdx2i.plan.kinds import KINDS, SPLIT
from kdx2i.suite import make_plan
from kdx2i.tables.comparison import metric_tree
from kdx2i.tables.machine import load_table_json
from kdx2i.teacher.recipes import load_recipe

ROOT = Path(__file__).parents[1]
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
RESULTS = "results/${preset}"
KEEPING: dict[str, dict[str, bool]] = {"persist": {"persist": True}, "fresh": {}}
KEPT = {
    kind.kept.format(results=RESULTS): KEEPING[kind.dvc] for kind in KINDS.values() if kind.dvc in ("persist", "fresh")
}
SPLIT_STAGES = {"split": "", "split-with-conditions": "conditioned"}


def options(entries: list[Any]) -> dict[str, Any]:
    """Return what DVC is told of each path."""
    return {path: told for item in entries for path, told in (item if isinstance(item, dict) else {item: {}}).items()}


def test_the_results_are_kept_as_the_table_of_kinds_says() -> None:
    stage = STAGES["results"]
    assert options(stage["outs"]) == KEPT
    metrics = [kind for kind in KINDS.values() if kind.dvc == "metrics"]
    paths = [f"{kind.kept.format(results=RESULTS)}/metrics.json" for kind in metrics if "metrics.json" in kind.outputs]
    assert options(stage["metrics"]) == {key: {"cache": False} for key in paths}


def test_every_folder_of_results_is_there_whatever_the_targets() -> None:
    """DVC fails where an output does not exist after the commands."""
    *folders, images, command, curves = STAGES["results"]["cmd"]
    assert all(words.startswith("mkdir -p ") for words in folders)
    assert sorted(path for words in folders for path in words.split()[2:]) == sorted(KEPT)
    assert images == "python -m kdx2i restore --splits --preset ${preset}"
    assert command == "snakemake --cores all ${targets}"
    assert curves == "python -m kdx2i curves --preset ${preset}"
    assert list(options(STAGES["results"]["plots"])) == [f"{RESULTS}/curves"]


@pytest.mark.parametrize("name", SPLIT_STAGES)
def test_the_splits_are_those_of_the_open_presets_and_of_the_teachers(name: str) -> None:
    presets = [preset for preset in names_in(ROOT / "benchmarks/presets") if preset.startswith("open")]
    used = {dataset for preset in presets for dataset in load_preset(ROOT, preset).datasets.values()}
    taught = {load_recipe(ROOT, teacher).dataset for teacher in names_in(ROOT / "benchmarks/teachers")}
    used |= {name for name in taught if load_dataset(ROOT, name).source.kind == "embedded"}
    conditioned = name == "split-with-conditions"
    stage = STAGES[name]
    expected = {dataset for dataset in used if bool(load_dataset(ROOT, dataset).conditions) == conditioned}
    assert sorted(stage["matrix"]["dataset"]) == sorted(expected)
    files = (*SPLIT.files({}, SPLIT_STAGES[name]), SPLIT.provenance)
    assert stage["outs"] == [f"data/${{item.dataset}}/{file}" for file in files]


@pytest.mark.parametrize("name", SPLIT_STAGES)
def test_a_split_is_stale_for_dvc_whenever_it_is_for_the_plan(name: str) -> None:
    """Else DVC's run-cache brings a provenance of other code back, or a job makes what a stage owns."""
    for module in code_closure([f"kdx2i.stages.{SPLIT.stage}"]):
        path = "/".join(module.split("."))
        assert any(path == dep.removesuffix(".py") or path.startswith(f"{dep}/") for dep in STAGES[name]["deps"]), path


def test_the_results_depend_on_the_splits_of_the_default_preset() -> None:
    default = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["preset"]
    plan = make_plan(ROOT, default)
    expected = {f"data/{name}/{file}" for name in plan.datasets for file in plan.split(name).outputs}
    assert {path for path in STAGES["results"]["deps"] if path.startswith("data/") and path != "data/raw"} == expected


def test_the_committed_metrics_are_those_of_the_reference() -> None:
    """What `dvc metrics diff` compares with is evidence that is here to be looked at."""
    default = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["preset"]
    folder = ROOT / "results/reference" / default / "tables"
    tables = [load_table_json(path) for path in sorted(folder.glob("*.json")) if "provenance" not in path.name]
    committed = json.loads((ROOT / "results" / default / "metrics.json").read_text(encoding="utf-8"))
    assert committed == json.loads(json.dumps(metric_tree(tables)))
