"""Assembly: for any subset of finished runs no row is lost, no value invented, and order never matters."""

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kdx2i.config import TableConfig
from kdx2i.tables.assemble import Absent, EvaluationKey, Scores, assemble
from kdx2i.tables.model import Cell, Table, TableRow
from kdx2i.tasks.facts import TASKS

SEEDS = (0, 1, 2)
NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([None, math.nan, math.inf, -math.inf, True, "12", 1e200]))
ENTRY = st.fixed_dictionaries({"value": NUMBERS}, optional={"reason": st.just("too few images"), "n_real": st.just(9)})
VALUES = st.dictionaries(st.sampled_from(["mFID", "RC", "LPIPS"]), ENTRY, max_size=3)
# One draw for a seed: its values, a sentence why it is absent, or nothing at all.
ITEM = st.one_of(VALUES, st.sampled_from(["stale: made by another identity", "missing"]), st.none())

CONTROLS = TASKS["image-to-image"].controls


def finite(values: Any, metric: str) -> bool:
    value = values.get(metric, {}).get("value") if isinstance(values, dict) else None
    return isinstance(value, float) and math.isfinite(value) and abs(value) < 1e100


def method_cells(table: Table) -> list[tuple[str, TableRow, Cell]]:
    return [(part.mode, row, cell) for part in table.parts for row in part.methods() for cell in row.cells]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_subset_of_runs(kit: Any, small: TableConfig, data: st.DataObject) -> None:
    drawn = {
        key: [(seed, data.draw(ITEM)) for seed in SEEDS]
        for key in data.draw(st.lists(st.sampled_from(kit.keys(small)), unique=True))
    }
    evaluations = {key: items(pairs) for key, pairs in drawn.items()}
    table = assemble(small, kit.context(small), evaluations, {}, {})

    for part in small.parts:
        labels = [row.label for row in small.rows if row.part == part.name]
        assembled = next(p for p in table.parts if p.name == part.name)
        assert [row.label for row in assembled.methods()] == labels
        resolutions = {row.resolution for row in small.rows if row.part == part.name}
        assert len(assembled.controls()) == len(CONTROLS) * len(resolutions)
        for row in assembled.rows:
            columns = [(d, m) for d in small.datasets_of(part.name) for m in small.metrics_of(part.name)]
            assert [(cell.dataset, cell.metric) for cell in row.cells] == columns

    for mode, row, cell in method_cells(table):
        key = EvaluationKey(cell.dataset, row.architecture or "", row.transfer or "", row.resolution, mode)
        given_values = {seed: v for seed, v in drawn.get(key, []) if finite(v, cell.metric)}
        expected = {seed: values[cell.metric]["value"] for seed, values in given_values.items()}
        assert dict(zip(cell.seeds, cell.values, strict=True)) == expected
        check_cell(cell, list(expected.values()))
        assert (len(expected) < len(SEEDS)) == bool(cell.absent)

    for mixed in (shuffled(evaluations, 1), shuffled(evaluations, 2)):
        again = assemble(small, kit.context(small), mixed, {}, {})
        assert again.model_dump_json() == table.model_dump_json()
    assert Table.model_validate_json(table.model_dump_json()) == table


def items(pairs: list[tuple[int, Any]]) -> list[Scores | Absent]:
    evaluations: list[Scores | Absent] = []
    for seed, item in pairs:
        if isinstance(item, str):
            evaluations.append(Absent(item, seed))
        elif item is not None:
            evaluations.append(Scores(seed, item))
    return evaluations


def shuffled(evaluations: dict[EvaluationKey, list[Scores | Absent]], seed: int) -> dict[Any, Any]:
    rng = random.Random(seed)
    keys = rng.sample(sorted(evaluations), len(evaluations))
    return {key: rng.sample(evaluations[key], len(evaluations[key])) for key in keys}


def check_cell(cell: Cell, values: list[float]) -> None:
    if not values:
        assert cell.mean is None
        assert cell.interval is None
        assert cell.absent
        return
    assert cell.mean == math.fsum(values) / len(values)
    if len(values) == 1:
        assert cell.interval is None
        return
    assert cell.interval is not None
    spread = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, cell.mean, spread) if spread else (cell.mean, cell.mean)
    scale = max(map(abs, values), default=1.0) + 1.0
    assert cell.interval[0] == pytest.approx(low, abs=1e-9 * scale)
    assert cell.interval[1] == pytest.approx(high, abs=1e-9 * scale)


def test_reasons_are_kept_and_counts_stand_beside_values(kit: Any, small: TableConfig) -> None:
    keys = kit.keys(small)
    entry = {"value": 1.0, "n_real": 20, "n_generated": 40, "classes": 2}
    evaluations = {key: [Scores(0, {"mFID": entry, "RC": {"value": None, "reason": "no classifier"}})] for key in keys}
    evaluations[keys[0]] = [Absent("not yet computed: architecture sdit is not implemented")]
    del evaluations[keys[1]]
    table = assemble(small, kit.context(small, seeds=(0,)), evaluations, {}, {})
    first, base = table.parts[0].methods()[:2]
    assert first.cells[0].reason == "not yet computed: architecture sdit is not implemented"
    assert first.cells[2].reason == "missing"
    assert base.cells[0].absent == ()
    assert (base.cells[0].real, base.cells[0].generated, base.cells[0].classes) == ((20,), (40,), (2,))
    assert base.cells[1].reason == "not available: no classifier"
    assert table.parts[0].controls()[0].cells[0].reason == "missing"


def test_a_stale_seed_is_named(kit: Any, small: TableConfig) -> None:
    evaluations = {
        key: [Scores(0, {"mFID": {"value": 1.0}}), Absent("stale", 1), Scores(2, {"mFID": {"value": 3.0}})]
        for key in kit.keys(small)
    }
    cell = assemble(small, kit.context(small), evaluations, {}, {}).parts[1].methods()[0].cells[0]
    assert (cell.seeds, cell.mean, cell.absent) == ((0, 2), 2.0, ("seed 1: stale",))


@pytest.mark.parametrize("seeds", [(0, 0), (7,)])
def test_seeds_that_cannot_be_are_refused(kit: Any, small: TableConfig, seeds: tuple[int, ...]) -> None:
    key = kit.keys(small)[0]
    evaluations = {key: [Scores(seed, {}) for seed in seeds]}
    with pytest.raises(ValueError, match="seeds"):
        assemble(small, kit.context(small), evaluations, {}, {})


def test_controls_are_values_without_seed_noise(kit: Any, small: TableConfig) -> None:
    controls = kit.controls(small, 7.0) | {("birds", 256, None): Absent("stale")}
    part = assemble(small, kit.context(small), {}, controls, {}).parts[0]
    rows = {(row.label, row.resolution): row for row in part.controls()}
    assert list(rows) == [(label, size) for size in (128, 256) for label in CONTROLS.values()]
    assert rows["Noise images", 128].cell("birds", "mFID").mean == 7.0
    assert rows["Noise images", 256].cell("birds", "mFID").reason == "stale"
    assert rows["Noise images", 256].cell("foods", "RC").mean == 7.0


def test_a_part_can_replace_the_resolution_of_its_rows(kit: Any, small: TableConfig) -> None:
    data = small.model_dump()
    data["parts"][1]["resolution"] = 128
    config = TableConfig.model_validate(data)
    table = kit.table(config, lambda key, seed, metric: float(key.resolution))
    assert {row.resolution for row in table.parts[1].methods()} == {128}
    assert table.parts[1].methods()[0].cells[0].mean == 128.0


def test_the_sampling_error_needs_every_seed(kit: Any, small: TableConfig) -> None:
    def cell(*errors: float | None) -> Any:
        scores = [Scores(i, {"mFID": {"value": 1.0, "standard_error": error}}) for i, error in enumerate(errors)]
        evaluations = dict.fromkeys(kit.keys(small), scores)
        return assemble(small, kit.context(small), evaluations, {}, {}).parts[0].methods()[1].cells[0]

    assert cell(3.0, 4.0, 5.0).standard_error == pytest.approx((50 / 3) ** 0.5)
    assert cell(3.0, None, 5.0).standard_error is None
