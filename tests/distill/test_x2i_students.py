"""Students of section 3.3 through the stages: opened by their task's stage 1, kept, read back and measured; resumed."""

import conditional_tiny as ct
import pytest
import tiny
import torch
from repository import ROOT

from kdx2i.distill import by_task
from kdx2i.distill.transfers import TRANSFERS
from kdx2i.methods.conditional_settings import X2IDistillSettings
from kdx2i.plan.specs import DistillSpec
from kdx2i.stages import students
from kdx2i.suite import make_plan
from kdx2i.tasks.facts import TASKS
from kdx2i.training.loop import LoopSettings, train


def spec(root, transfer="kd"):
    return DistillSpec(
        architecture="toy", transfer=transfer, resolution=16, seed=5, networks={}, distillation="x2i",
        transfer_settings=TRANSFERS[transfer].first_stage(), teacher="random", teacher_file="teacher", distill={},
    )  # fmt: skip


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Return what opens the distillation of a spec, with the random teacher and the small student."""
    settings = X2IDistillSettings(**ct.DEFAULTS, learning_rate=1e-2)
    monkeypatch.setattr(students, "build_student", lambda *_: (ct.Student({4: 6, 8: 6, 16: 3}), settings))
    monkeypatch.setattr(students, "load_teacher", lambda path: tiny.teacher(16))
    return lambda transfer="kd": students.open_distillation(tmp_path, spec(tmp_path, transfer), tiny.CPU)[0]


@pytest.mark.parametrize("transfer", ["kd", "kd-l1", "kd-constant-condition"])
def test_a_students_file_holds_what_its_measures_need(opened, transfer, tmp_path):
    distillation = opened(transfer)
    for step in range(3):
        torch.manual_seed(step)
        distillation.training_step(step)
    train(distillation, LoopSettings(3, 0), tmp_path, "x")
    kept = students.kept_networks(distillation)
    assert ("discriminator" in kept) == (transfer != "kd-l1")
    tensors = tiny.state_of(kept)
    again = opened(transfer)
    students.put_into(again, tensors, tmp_path / "student.safetensors")
    found = students.measures_of(again, spec(tmp_path, transfer))
    assert found == students.measures_of(distillation, spec(tmp_path, transfer))
    assert found["guidance"]["pseudo-condition"]["l1"] != found["guidance"]["pseudo-condition"]["l1_undistilled"]


def test_an_interrupted_distillation_ends_as_one_that_was_not(opened, tmp_path):
    ends = []
    for name, stops in (("whole", [4]), ("twice", [2, 4])):
        for stop in stops:
            train(opened(), LoopSettings(stop, 7, checkpoint_every=2), tmp_path / name, "x")
        ends.append((tmp_path / name / "checkpoint.safetensors").read_bytes())
    assert ends[0] == ends[1]


def test_every_task_has_a_stage_1_and_each_is_loaded_by_name():
    assert {name: facts.distillation for name, facts in TASKS.items()} == {
        "image-to-image": "i2i", "text": "x2i", "speech": "x2i", "label-map": "x2i"
    }  # fmt: skip
    for name in by_task.DISTILLATIONS:
        assert callable(by_task.load_distillation(name)) and callable(by_task.load_measure(name))


def test_a_students_identity_holds_the_code_of_its_own_stage_1():
    plan = make_plan(ROOT, "open")
    modules = plan.distilled("stargan_v2", "kd", 32, 0).modules
    assert {"kdx2i.distill.i2i", "kdx2i.distill.measures"} < set(modules)
    assert not any("x2i" in module.rpartition(".")[2] for module in modules)


def test_a_transfer_of_the_other_stage_1_is_no_transfer_of_this_task():
    plan = make_plan(ROOT, "open")
    for transfer in ("kd-constant-condition", "kd-no-diversity"):
        reason = plan.missing_part("stargan_v2", transfer)
        assert reason == f"transfer {transfer} means nothing in the stage 1 of the task image-to-image"
    assert plan.missing_part("stargan_v2", "kd-no-mixing") is None
