"""The workflows of continuous integration: who may start them, with which rights; and what they expect."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdx2i.tables.comparison import compare
from kdx2i.tables.expectations import failed_expectations, load_expectations
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.published import read_published

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["ci.yml", "gpu.yml"])
def test_a_workflow_has_limits_least_rights_and_pinned_actions(name: str) -> None:
    text, whole = (FOLDER / name).read_text(encoding="utf-8"), workflow(name)
    assert whole["permissions"] == {} and "concurrency" in whole
    for job in whole["jobs"].values():
        assert job["timeout-minutes"] > 0 and job["permissions"] == {"contents": "read"}
    used = re.findall(r"uses: (\S+)", text)
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used)


def test_a_gpu_is_used_by_label_schedule_or_hand_and_never_for_a_fork() -> None:
    whole = workflow("gpu.yml")
    assert set(whole[True]) == {"pull_request", "schedule", "workflow_dispatch"}  # YAML 1.1 reads `on` as true
    assert whole[True]["pull_request"] == {"types": ["labeled"]}
    job = whole["jobs"]["gpu"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
    script, upload = job["steps"][-2:]
    assert "github.ref == 'refs/heads/main'" in script["env"]["KDX2I_PUSH"]
    assert upload["if"] == "always()"
    # What people type reaches a shell as a variable only.
    assert not any("inputs." in step.get("run", "") for step in job["steps"])


def test_gitlab_runs_the_same_scripts_under_the_same_conditions() -> None:
    whole = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    assert whole["cpu"]["script"] == [".ci/run"]
    assert whole["gpu"]["script"][-1].startswith(".ci/gpu ")
    never = whole["gpu"]["rules"][0]
    assert never["when"] == "never" and "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID != $CI_PROJECT_ID" in never["if"]
    assert whole["gpu"]["artifacts"]["when"] == "always"


def test_the_reference_fulfils_what_the_gpu_runner_expects() -> None:
    tables = [load_table_json(ROOT / "results/reference/open/tables/table1.json")]
    comparison = compare(tables, {"table1": read_published(ROOT, "table1")})
    expected = load_expectations(ROOT / ".ci/expect.yaml")
    assert len(expected) == 5 and failed_expectations(expected, tables, comparison) == []
