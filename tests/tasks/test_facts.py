"""The four tasks: each is complete, and a table asks of a task only what it provides."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import ROOT, settings_copy

from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan.mode import Mode
from kdx2i.suite import make_plan
from kdx2i.tasks.facts import REAL_AGAINST_REAL, TASKS


@pytest.mark.parametrize("name", TASKS)
def test_every_task_opens_scores_and_has_its_rows(name: Any) -> None:
    facts = TASKS[name]
    assert facts.name == name
    assert callable(importlib.import_module(facts.module).OpenTask)
    assert callable(importlib.import_module(facts.scoring).TaskScoring)
    assert facts.controls["real_vs_real"] == REAL_AGAINST_REAL and "noise" in facts.controls
    assert facts.image_counts <= set(EvaluationSettings.model_fields)
    assert [Mode.parse(mode).guidance for mode in facts.modes] == list(facts.modes)


def test_metrics_follow_from_what_a_task_provides() -> None:
    pooled = {"FID", "FIDinf", "KIDx100", "IS", "Precision", "Recall"}
    assert set(TASKS["text"].metrics) == set(TASKS["speech"].metrics) == pooled | {"R-precision"}
    assert set(TASKS["label-map"].metrics) == pooled | {"mIoU"}
    assert set(TASKS["image-to-image"].metrics) == set(METRICS) - {"mIoU", "R-precision"}
    assert METRICS["mIoU"].needs == {Need.LABEL_MAPS}


def changed_part(root: Path, **changes: Any) -> Path:
    """Return a copy of the settings whose table 2 has other keys in its first part, text to image."""
    settings_copy(root)
    path = root / "benchmarks" / "tables" / "table2.yaml"
    table = yaml.safe_load(path.read_text())
    table["parts"][0] |= changes
    path.write_text(yaml.safe_dump(table))
    return root


def test_a_metric_that_the_task_does_not_provide_is_refused(tmp_path: Path) -> None:
    plan = make_plan(changed_part(tmp_path / "root", metrics=["FID", "mIoU"]), "open")
    with pytest.raises(
        UserError, match=r"part text2image: mIoU means nothing for the task text; it has FID"
    ) as refusal:
        plan.table("table2")
    assert "\n" not in str(refusal.value)


def test_a_dataset_of_another_task_is_refused(tmp_path: Path) -> None:
    plan = make_plan(changed_part(tmp_path / "root", task="speech", mode="audio"), "open")
    with pytest.raises(UserError, match=r"open-animals-text is a dataset of the task text, not speech") as refusal:
        plan.table("table2")
    assert "\n" not in str(refusal.value)


def test_a_transfer_with_a_stage_1_is_a_reason_in_the_cells_of_a_task_without_one() -> None:
    plan = make_plan(ROOT, "open")
    facts: Any = plan.catalogue.tasks["image-to-image"]
    plan.catalogue = replace(plan.catalogue, tasks={"image-to-image": replace(facts, distillation=None)})
    cells = [cell for cell in plan.table("table1").cells if cell.row.architecture == "stargan_v2"]
    reasons = {cell.row.transfer: cell.reason for cell in cells}
    assert reasons["kd"] == "not yet computed: transfer kd needs a stage 1, and the task image-to-image has none"
    assert reasons["scratch"] is None


def test_a_method_of_another_task_is_a_reason_in_its_cells(tmp_path: Path) -> None:
    root = changed_part(tmp_path / "root")
    path = root / "benchmarks" / "tables" / "table2.yaml"
    table = yaml.safe_load(path.read_text())
    table["rows"][0]["architecture"] = "stargan_v2"
    path.write_text(yaml.safe_dump(table))
    cell = make_plan(root, "open").table("table2").cells[0]
    assert (cell.leaves, cell.reason) == ((), "not yet computed: stargan_v2 has no mode text")
