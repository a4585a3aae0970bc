"""The plan of shipped students: who starts from one, what its identity says, and when it is older than what is here."""

from pathlib import Path

import numpy as np
import pytest
from repository import fabricate, settings_copy
from safetensors.numpy import save
from shipped import FILE, NAME, add_preset, add_recipe, pretend_shipped

from kdx2i.cli import main
from kdx2i.errors import UserError
from kdx2i.files import write_bytes
from kdx2i.identity import file_hash
from kdx2i.inspection.shipped_students import notices
from kdx2i.plan.shipped import read_shipped
from kdx2i.suite import make_plan
from kdx2i.tables.context import departures

METHOD = ("open-birds", "stargan_v2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return settings_copy(tmp_path)


def test_a_run_starts_from_the_file_that_the_preset_names_whatever_its_seed(root: Path) -> None:
    plan = pretend_shipped(root)
    for seed in (0, 1):
        run = plan.run(*METHOD, "kd", 32, seed)
        assert "distilled" not in run.inputs
        assert run.spec.student_file == FILE
        assert run.files[FILE] == file_hash(root / FILE)
    scratch_encoders = plan.run(*METHOD, "kd-encoder-scratch", 32, 0)
    assert scratch_encoders.spec.student_file == FILE  # its stage 1 is that of kd


def test_what_the_preset_does_not_name_is_distilled(root: Path) -> None:
    plan = pretend_shipped(root)
    run = plan.run(*METHOD, "kd-l1", 32, 0)
    assert run.spec.student_file is None
    assert run.inputs["distilled"].address["transfer"] == "kd-l1"
    scratch = plan.run(*METHOD, "scratch", 32, 0)
    assert scratch.spec.student_file is None and "distilled" not in scratch.inputs


def test_one_key_distils_again_and_the_identity_says_which(root: Path) -> None:
    shipped = pretend_shipped(root)
    add_preset(root, "again", {}, extends="shipped")
    again = make_plan(root, "again")
    runs = [plan.run(*METHOD, "kd", 32, 0) for plan in (shipped, again)]
    assert runs[1].inputs["distilled"].kind.name == "distilled"
    assert runs[0].identity != runs[1].identity
    baselines = [plan.run(*METHOD, "scratch", 32, 0).identity for plan in (shipped, again)]
    assert baselines[0] == baselines[1]
    assert [plan.choices["i2i-students"] for plan in (shipped, again)] == ["named", "none"]


def test_another_file_is_another_run(root: Path) -> None:
    before = pretend_shipped(root).run(*METHOD, "kd", 32, 0).identity
    after = pretend_shipped(root, value=1.0).run(*METHOD, "kd", 32, 0).identity
    assert before != after


def test_the_budget_of_a_row_is_that_of_its_student(root: Path) -> None:
    plan = pretend_shipped(root)
    lines = {line.transfer: line for line in plan.table("table1").budget if line.architecture == "stargan_v2"}
    assert lines["kd"].distill == 3  # the recipe's; the preset's own is 2
    assert lines["scratch"].distill is None


def test_departures_are_those_of_the_student_that_is_used(root: Path) -> None:
    plan = pretend_shipped(root)
    words = " ".join(item.text for item in departures(plan) if item.architecture == "stargan_v2")
    assert "networks.dim_in" in words
    assert "iterations" not in words


def test_stage_1_lists_each_student_once(root: Path) -> None:
    plan = pretend_shipped(root)
    plan = plan.for_preset("shipped", [0, 1])
    leaves = list(plan.stage1().inputs.values())
    kinds = {(leaf.kind.name, leaf.spec.transfer, leaf.spec.seed) for leaf in leaves}
    own = {("distilled", transfer, seed) for transfer in ("kd-adv", "kd-l1", "kd-no-mixing") for seed in (0, 1)}
    assert kinds == own | {("measured", "kd", 0)}
    assert len(leaves) == len(kinds)


def test_a_recipe_takes_networks_from_its_preset_and_is_the_same_under_every_preset(root: Path) -> None:
    plan = pretend_shipped(root)
    leaf = plan.student(NAME)
    assert leaf.spec.distill["iterations"] == 3
    assert leaf.spec.networks == plan.distilled("stargan_v2", "kd", 32, 0).spec.networks
    assert leaf.directory.as_posix() == f"results/shipped/students/{NAME}"
    assert leaf.identity == make_plan(root, "open").student(NAME).identity
    assert plan.command(leaf) == ["kdx2i", "student", "--preset", "shipped", NAME]
    assert plan.leaf_at(leaf.provenance_path.relative_to(root)) is leaf


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"transfer": "scratch"}, "has no stage 1"),
        ({"resolution": 31}, "has no resolution 31"),
        ({"distill": {"speed": 3}}, f"benchmarks/students/{NAME}.yaml"),
        ({"preset": "nowhere"}, "there is no preset `nowhere`"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(root: Path, changes: dict[str, object], sentence: str) -> None:
    add_recipe(root, **changes)
    with pytest.raises(UserError, match=sentence):
        make_plan(root, "open-smoke").student(NAME)


def test_a_file_that_is_missing_foreign_or_of_another_method_is_one_sentence(root: Path) -> None:
    pretend_shipped(root)
    add_preset(root, "absent", {"stargan_v2": {"kd": {32: "benchmarks/students/nobody.safetensors"}}})
    with pytest.raises(UserError, match=r"nobody\.safetensors does not exist"):
        make_plan(root, "absent").table("table1")
    teacher = "benchmarks/teachers/faces-r32-long.safetensors"
    add_preset(root, "foreign", {"stargan_v2": {"kd": {32: teacher}}})
    with pytest.raises(UserError, match="is not a student that `kdx2i ship` wrote"):
        make_plan(root, "foreign").measured("stargan_v2", "kd", 32)
    add_preset(root, "other", {"stargan_v2": {"kd-l1": {32: FILE}}})
    with pytest.raises(UserError, match="is a student of stargan_v2 kd at 32 px"):
        make_plan(root, "other").measured("stargan_v2", "kd-l1", 32)
    (root / FILE).write_bytes(b"torn")
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        read_shipped(root / FILE)


def test_a_student_of_the_code_and_settings_here_needs_no_notice(root: Path) -> None:
    assert notices(pretend_shipped(root)) == []


def test_a_student_of_other_settings_is_named_and_the_run_still_planned(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pretend_shipped(root).run(*METHOD, "kd", 32, 0).identity
    add_recipe(root, distill={"iterations": 4})
    plan = make_plan(root, "shipped")
    (notice,) = notices(plan)
    assert notice.kind == "other"
    assert notice.sentence.startswith(f"{FILE} was made by other code, settings or teacher: ")
    assert "distill.iterations" in notice.sentence
    assert plan.run(*METHOD, "kd", 32, 0).identity == before
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    fabricate(plan, plan.split("open-birds"))
    assert main(["verify", "--preset", "shipped"]) == 0
    assert notice.sentence in capsys.readouterr().out


def test_a_student_of_another_teacher_is_named(root: Path) -> None:
    plan = pretend_shipped(root)
    write_bytes(root / plan.student(NAME).spec.teacher_file, save({"another": np.zeros(1)}))
    (notice,) = notices(make_plan(root, "shipped"))
    assert "files that it reads have changed (benchmarks/teachers/faces-r32-long.safetensors)" in notice.sentence


def test_a_damaged_student_is_a_fault(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_shipped(root)
    whole = (root / FILE).read_bytes()
    (root / FILE).write_bytes(whole[:-1] + b"\x01")
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    assert main(["verify", "--preset", "shipped"]) == 1
    assert f"{FILE} is corrupt" in capsys.readouterr().out


def test_show_explains_students_and_refuses_others(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_shipped(root)
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    assert main(["show", "stage1", "kd", "--preset", "shipped"]) == 0
    shown = capsys.readouterr().out
    assert "results/shipped/measured/stargan_v2/kd/r32 is missing" in shown
    assert "kdx2i measure --preset shipped --architecture stargan_v2 --transfer kd --resolution 32" in shown
    assert main(["show", "stage1", "kd/99", "--preset", "shipped"]) == 2
    assert "preset shipped has no student `kd/99`; its students are stargan_v2/kd/32/s0" in capsys.readouterr().err


@pytest.mark.parametrize("shipped", [True, False])
def test_a_discriminator_of_another_student_is_shipped_or_distilled_as_that_student_is(
    root: Path, shipped: bool
) -> None:
    pretend_shipped(root)
    students = {"stargan_v2": {"kd": {32: FILE}}} if shipped else {}
    add_preset(root, "judged", students)
    path = root / "benchmarks/presets/judged.yaml"
    path.write_text(path.read_text() + "transfers: {l1_discriminator: kd}\n")
    run = make_plan(root, "judged").run(*METHOD, "kd-l1", 32, 0)
    assert run.spec.student_file is None and run.inputs["distilled"].spec.transfer == "kd-l1"
    assert (run.spec.discriminator_file == FILE) == (FILE in run.files) == shipped
    assert ("discriminator" in run.inputs) != shipped
