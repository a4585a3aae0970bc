"""From a plan to a table: reasons, seeds, controls and budgets arrive where they belong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kdx2i.config import TableConfig
from kdx2i.plan import BudgetLine, CellPlan, Kind, Leaf, TablePlan
from kdx2i.plan.kinds import CONTROLS, EVALUATION
from kdx2i.plan.specs import MethodSpec
from kdx2i.suite import make_plan
from kdx2i.tables.assemble import Absent, EvaluationKey, MethodKey, Scores
from kdx2i.tables.context import context
from kdx2i.tables.gather import budgets, build_table, gather_controls, gather_evaluations

ROOT = Path(__file__).parents[2]


def leaf(kind: Kind, name: str, seed: int = 0) -> Leaf[Any]:
    address = {"dataset": name, "architecture": "a", "transfer": "t", "resolution": 64, "seed": seed, "mode": "m"}
    spec = MethodSpec(architecture="a", transfer="t", resolution=64, seed=seed, networks={})
    return Leaf(ROOT, Path("results/x"), kind, address, spec)


@pytest.fixture
def planned(small: TableConfig) -> TablePlan:
    """Two cells that run with two seeds, and one whose architecture is not there."""
    cells = []
    for row in small.rows[:3]:
        runs = row.architecture == "stargan_v2"
        leaves = tuple(leaf(EVALUATION, row.label, seed) for seed in (0, 1)) if runs else ()
        reason = None if runs else "not yet computed: architecture sdit is not implemented"
        cells.append(CellPlan("latent", row, "latent", "birds", row.resolution, "open-birds", 64, leaves, reason))
    line = BudgetLine("stargan_v2", "kd", 256, 10, 20, 30, 40, 8, 2, 8, 8)
    return TablePlan(small, tuple(cells), {("birds", 256): leaf(CONTROLS, "controls")}, (line,))


def read(gathered: Leaf) -> Mapping[str, Any] | Absent:
    if gathered.kind is CONTROLS:
        return {"values": {"noise": {"mFID": {"value": 400.0}}, "identity": "not a control"}}
    if gathered.spec.seed == 1:
        return Absent("stale: made by another identity")
    return {"values": {"mFID": {"value": 12.0}, "RC": 5}, "identity": "abc"}


def test_evaluations_keep_reasons_and_seeds(planned: TablePlan) -> None:
    gathered = gather_evaluations(planned, read)
    assert gathered[EvaluationKey("birds", "sdit", "scratch", 128, "latent")] == (
        Absent("not yet computed: architecture sdit is not implemented"),
    )
    assert gathered[EvaluationKey("birds", "stargan_v2", "kd", 256, "latent")] == (
        Scores(0, {"mFID": {"value": 12.0}}),
        Absent("stale: made by another identity", 1),
    )


def test_an_evaluation_without_values_is_missing(planned: TablePlan) -> None:
    gathered = gather_evaluations(planned, lambda _: {"identity": "abc"})
    scores = gathered[EvaluationKey("birds", "stargan_v2", "kd", 256, "latent")]
    assert all(isinstance(item, Absent) and item.reason.startswith("missing") for item in scores)


def test_controls_and_budgets(planned: TablePlan) -> None:
    controls = gather_controls(planned, read)
    assert controls["birds", 256, None] == {"noise": {"mFID": {"value": 400.0}}}
    assert isinstance(controls["birds", 128, None], Absent)
    assert gather_controls(planned, lambda _: Absent("stale"))["birds", 256, None] == Absent("stale")
    budget = budgets(planned)[MethodKey("stargan_v2", "kd", 256)]
    assert (budget.distill_share, budget.train_share) == (0.5, 0.75)


@pytest.mark.parametrize("preset", ["open", "paper"])
def test_every_table_of_the_repository_can_be_assembled_before_anything_ran(preset: str) -> None:
    plan = make_plan(ROOT, preset)
    for name in plan.tables:
        table = build_table(plan, name, lambda _: Absent("missing"))
        config = plan.table(name).config
        assert [row.label for part in table.parts for row in part.methods()] == [row.label for row in config.rows]
        assert all(cell.mean is None and cell.absent for part in table.parts for row in part.rows for cell in row.cells)


def test_the_paper_departs_from_itself_in_nothing() -> None:
    assert context(make_plan(ROOT, "paper")).departures == ()
    assert context(make_plan(ROOT, "open")).departures
