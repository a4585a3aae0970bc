"""Stage 1 measured and shipped, with tiny networks: metrics.json, the table, figures, the half-precision file."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from repository import fabricate, settings_copy
from shipped import FILE, NAME, RECIPE, add_preset, add_recipe
from workflows import tiny_teacher

from kdx2i.cli import main
from kdx2i.data.rows import Split
from kdx2i.distill.measures import GALLERY
from kdx2i.distill.measures import measure as measure_student
from kdx2i.errors import UserError
from kdx2i.files import read_json
from kdx2i.inspection.reference import export
from kdx2i.plan import Plan
from kdx2i.provenance import problem
from kdx2i.stages import distill, figure, measure, split, stage1, students, train
from kdx2i.stages.ship import ship_student
from kdx2i.stages.student_files import student_tensors
from kdx2i.stages.train import initial_method
from kdx2i.suite import make_plan
from kdx2i.tasks.opening import open_task
from kdx2i.training.checkpoint import load_tensors, select

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def fewer_triplets() -> Iterator[None]:
    """Measure on one gallery of triplets: what is proved here is where measures go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(students, "load_measure", lambda name: lambda d, seed, _: measure_student(d, seed, GALLERY))
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose student of `kd` is distilled from a tiny teacher, shipped, and measured where it is named."""
    root = settings_copy(tmp_path_factory.mktemp("students"))
    tiny_teacher(root / "benchmarks/teachers/faces-r32-long.safetensors")
    add_recipe(root)
    plan = make_plan(root, "open-smoke")
    leaf = plan.student(NAME)
    distill.run(plan, leaf)
    ship_student(plan, leaf)
    add_preset(root, "shipped", {"stargan_v2": {"kd": {32: FILE}}})
    return root


@pytest.fixture(scope="module")
def plan(root: Path) -> Plan:
    plan = make_plan(root, "shipped")
    measure.run(plan, plan.measured("stargan_v2", "kd", 32))
    for transfer in ("kd-l1", "kd-adv", "kd-no-mixing"):
        distill.run(plan, plan.distilled("stargan_v2", transfer, 32, 0))
    stage1.run(plan, plan.stage1())
    return plan


def test_a_distilled_student_carries_its_measures(root: Path) -> None:
    leaf = make_plan(root, "open-smoke").student(NAME)
    metrics = read_json(leaf.file("metrics.json"))
    assert set(metrics["guidance"]) == {"reference", "latent"}
    assert metrics["guidance"]["reference"]["l1"] > metrics["guidance"]["reference"]["l1_copy"]
    assert metrics["distilled"] is False  # three iterations teach nothing
    assert "metrics.json" in read_json(leaf.provenance_path)["outputs"]
    assert not leaf.work.exists()


def test_a_job_that_dies_while_measuring_publishes_nothing_and_ends_in_the_same_bytes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(root, "open-smoke")
    leaf = plan.distilled("stargan_v2", "kd", 32, 0)

    def die(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(distill, "measures_of", die)
        distill.run(plan, leaf)
    assert not any((root / path).exists() for path in leaf.paths)
    distill.run(plan, leaf)
    resumed = {name: leaf.file(name).read_bytes() for name in ("student.safetensors", "metrics.json")}
    leaf.provenance_path.unlink()
    distill.run(plan, leaf)
    assert {name: leaf.file(name).read_bytes() for name in resumed} == resumed
    assert problem(leaf) is None


def test_a_shipped_student_is_the_distilled_one_in_half_precision(root: Path) -> None:
    distilled, _ = load_tensors(make_plan(root, "open-smoke").student(NAME).file("student.safetensors"))
    shipped, header = load_tensors(root / FILE)
    assert set(shipped) == set(distilled)
    floating = [name for name, tensor in distilled.items() if tensor.is_floating_point()]
    assert floating
    for name in floating:
        assert shipped[name].dtype is torch.float16
        assert torch.equal(shipped[name], distilled[name].half())
    assert header["bits"] == 16
    provenance = read_json((root / FILE).with_suffix(".provenance.json"))
    assert {key: provenance[key] for key in header} == header
    assert provenance["packages"]["torch"]
    assert (root / FILE).with_suffix(".png").is_file()
    assert not list((root / FILE).parent.glob("*.unmeasured"))


def test_what_is_measured_here_is_what_was_shipped(plan: Plan) -> None:
    leaf = plan.measured("stargan_v2", "kd", 32)
    assert problem(leaf) is None
    shipped = load_tensors(plan.root / FILE)[1]["metrics"]
    assert read_json(leaf.file("metrics.json")) == shipped  # the same machine: the same numbers
    exact = read_json(make_plan(plan.root, "open-smoke").student(NAME).file("metrics.json"))
    rounded = shipped["guidance"]["reference"]["l1"]
    assert rounded != exact["guidance"]["reference"]["l1"]  # measured as it is shipped
    assert rounded == pytest.approx(exact["guidance"]["reference"]["l1"], rel=1e-2)


def test_stage_2_starts_from_the_shipped_file(plan: Plan) -> None:
    run = plan.run("open-birds", "stargan_v2", "kd", 32, 0)
    split.run(plan, run.inputs["split"])
    task = open_task(run.spec.task, Split(run.inputs["split"].folder), 32)
    method = initial_method(plan, run, task, CPU)
    expected = select(student_tensors(plan.root / FILE), "generator")
    state = method.networks["generator"].state_dict()
    assert expected
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert all(tensor.dtype is torch.float32 for tensor in state.values() if tensor.is_floating_point())


def test_the_table_has_a_line_for_each_student_and_guidance(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    leaf = plan.stage1()
    with leaf.file("stage1.csv").open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert list(lines[0])[:12] == [
        "architecture", "transfer", "resolution", "seed", "guidance", "l1", "l1_copy", "l1_constant", "l1_shuffled",
        "response", "retrieval", "distilled",
    ]  # fmt: skip
    assert {(line["transfer"], line["guidance"]) for line in lines} == {
        (transfer, guidance)
        for transfer in ("kd", "kd-l1", "kd-adv", "kd-no-mixing")
        for guidance in ("reference", "latent")
    }
    measures = read_json(plan.measured("stargan_v2", "kd", 32).file("metrics.json"))["guidance"]
    for line in lines:
        if line["transfer"] == "kd":
            assert float(line["l1"]) == measures[line["guidance"]]["l1"]
            assert line["distilled"] == "no"
            assert line["student"] == FILE
        if line["transfer"] == "kd-no-mixing":
            assert line["l1_copy"] == line["response"] == ""  # y is x1: a copy is no yardstick
    page = leaf.file("stage1.md").read_text()
    assert page.count("| stargan\\_v2 kd (shipped) | 32 | 0 |") == 2
    assert "not distilled" in page
    stage1.show(plan)
    screen = capsys.readouterr().out
    assert "stargan_v2 kd (shipped)" in screen and "not distilled" in screen


def test_a_student_that_is_not_current_is_not_listed(plan: Plan) -> None:
    leaf = plan.distilled("stargan_v2", "kd-l1", 32, 0)
    whole = leaf.file("metrics.json").read_bytes()
    leaf.file("metrics.json").write_text("{}")
    try:
        with pytest.raises(UserError, match="kd-l1/r32/s0 is corrupt"):
            stage1.run(plan, plan.stage1())
    finally:
        leaf.file("metrics.json").write_bytes(whole)


@pytest.fixture
def repository(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KDX2I_ROOT", str(plan.root))
    yield plan.root


def test_show_prints_the_measures(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "stage1", "kd/s0", "--preset", "shipped"]) == 0
    shown = capsys.readouterr().out
    metrics = read_json(repository / "results/shipped/measured/stargan_v2/kd/r32/metrics.json")
    values = metrics["guidance"]["latent"]
    assert f"by latent: L1 {values['l1']:.3f}, copy {values['l1_copy']:.3f}" in shown
    assert "alignment, encoder: " in shown
    assert f"not distilled: {metrics['reason']}" in shown
    assert "kd-l1" not in shown
    assert main(["show", "table1", "latent/Ours*/birds", "--preset", "shipped"]) == 0
    assert f"stage 1: stargan_v2 kd at 32 px, {FILE}" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "columns"), [("figure7", 4), ("figure8", 5)])
def test_a_figure_of_a_student_carries_its_measures(plan: Plan, name: str, columns: int) -> None:
    leaf = plan.figure(name)
    figure.run(plan, leaf)
    caption = json.loads(leaf.file(f"{name}.json").read_text())
    measures = read_json(plan.measured("stargan_v2", "kd", 32).file("metrics.json"))
    assert caption["stage1"] == {"Ours": measures}
    assert len(caption["columns"]) == columns
    marked = [column for column in caption["columns"] if column.startswith("student")]
    assert marked and all(column.endswith("(not distilled)") for column in marked)
    assert any(f"L1 {measures['guidance']['reference']['l1']:.3f}" in line for line in caption["below"])
    with Image.open(leaf.file(f"{name}.png")) as image:
        pixels = np.asarray(image.convert("L"))
    assert (pixels[-24:] < 128).any(), "the lines below the image are drawn"


def test_the_reference_keeps_the_table_of_stage_1(plan: Plan) -> None:
    folder = export(plan, [], "trial")
    assert (folder / "stage1.csv").read_bytes() == plan.stage1().file("stage1.csv").read_bytes()
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"measured/stargan_v2/kd/r32/metrics.json", "distilled/stargan_v2/kd-l1/r32/s0/metrics.json"} <= kept
    assert not [name for name in kept if name.endswith(".safetensors")]


def test_a_figure_of_a_run_says_that_its_student_is_not_distilled(plan: Plan) -> None:
    run = plan.run("open-birds", "stargan_v2", "kd", 32, 0)
    split.run(plan, run.inputs["split"])
    train.run(plan, run)
    assert read_json(run.provenance_path)["spec"]["student_file"] == FILE
    leaf = plan.figure("figure19")
    figure.run(plan, leaf)
    caption = json.loads(leaf.file("figure19.json").read_text())
    assert caption["below"] == ["Ours (not distilled): its student does not beat its yardsticks"]
    assert caption["stage1"]["Ours"]["distilled"] is False


def test_a_student_of_a_teacher_that_is_not_shipped_is_not_shipped(root: Path) -> None:
    own = root / "benchmarks/presets/own-teacher.yaml"
    own.write_text("name: own-teacher\nextends: open-smoke\ntitle: own\nteachers: {faces: {32: faces-r32-long}}\n")
    recipe = root / "benchmarks/students/of-own.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"name": "of-own", "preset": "own-teacher"}))
    plan = make_plan(root, "own-teacher")
    leaf = plan.student("of-own")
    for upstream in leaf.upstream():
        fabricate(plan, upstream)
    with pytest.raises(UserError, match="was distilled from a teacher that is not shipped"):
        ship_student(plan, leaf)
    assert not (root / "benchmarks/students/of-own.safetensors").exists()
