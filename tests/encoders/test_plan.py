"""Which encoder a run reads its conditions by, and what that does to its identity."""

from pathlib import Path

import pytest
import tiny_text
from repository import settings_copy
from tiny_encoders import DATASETS, add_preset, add_recipe

from kdx2i.encoders.damsm.files import save_damsm
from kdx2i.errors import UserError
from kdx2i.plan import Plan

BIRDS = DATASETS["damsm"]
FILE = "benchmarks/encoders/mine.safetensors"


def bird_run(plan: Plan, seed: int = 0):
    return plan.run(BIRDS, "ssa_gan", "scratch", 64, seed)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return settings_copy(tmp_path)


def test_a_file_is_among_the_files_and_its_bytes_are_in_the_identity(root: Path) -> None:
    (root / FILE).parent.mkdir(exist_ok=True)
    save_damsm(root / FILE, tiny_text.damsm())
    first = bird_run(add_preset(root, {BIRDS: FILE}))
    assert first.spec.encoder_file == FILE and FILE in first.files and "encoder" not in first.inputs
    save_damsm(root / FILE, tiny_text.damsm(seed=1))
    second = bird_run(add_preset(root, {BIRDS: FILE}))
    assert second.spec == first.spec and second.identity != first.identity


def test_a_recipe_is_trained_before_and_its_settings_are_in_the_identity(root: Path) -> None:
    add_recipe(root, "damsm")
    plan = add_preset(root, {BIRDS: "tiny-damsm"})
    first = bird_run(plan)
    leaf = first.inputs["encoder"]
    assert leaf is plan.encoder("tiny-damsm")
    assert first.spec.encoder_file == "results/tiny/encoders/tiny-damsm/encoder.safetensors"
    evaluation = plan.evaluation(BIRDS, "ssa_gan", "scratch", 64, 0, "text")
    assert evaluation.inputs["encoder"] is leaf
    add_recipe(root, "damsm", seed=1)
    assert bird_run(add_preset(root, {BIRDS: "tiny-damsm"})).identity != first.identity


def test_a_run_without_conditions_does_not_mention_encoders(root: Path) -> None:
    address = ("open-birds", "stargan_v2", "scratch", 64, 0)
    without = add_preset(root, {}, "without").run(*address)
    add_recipe(root, "damsm")
    named = add_preset(root, {BIRDS: "tiny-damsm"}, "named").run(*address)
    assert "encoder_file" not in without.spec.as_json() and without.spec == named.spec
    assert without.identity == named.identity


def test_a_dataset_without_an_encoder_says_so(root: Path) -> None:
    plan = add_preset(root, {})
    plan.preset.encoders.clear()
    sentence = f"ssa_gan reads conditions by an encoder, and preset tiny names none for {BIRDS} in `encoders`"
    with pytest.raises(UserError, match=sentence):
        bird_run(plan)
    reasons = [cell.reason for cell in plan.table("table2").cells if cell.row.architecture == "ssa_gan"]
    assert any(sentence in str(reason) for reason in reasons)


def test_an_encoder_of_another_dataset_is_refused(root: Path) -> None:
    add_recipe(root, "damsm", dataset="open-birds-text")
    with pytest.raises(UserError, match=r"encoders\.open-animals-text: .* tiny-damsm is trained on open-birds-text"):
        bird_run(add_preset(root, {BIRDS: "tiny-damsm"}))


def test_the_register_says_where_encoders_come_from(root: Path) -> None:
    add_recipe(root, "damsm")
    plan = add_preset(root, {BIRDS: "tiny-damsm", DATASETS["speech"]: FILE})
    assert plan.choices["condition-encoders"] == "file, recipe"


def test_only_what_scores_by_an_encoder_reads_it(root: Path) -> None:
    add_recipe(root, "damsm")
    plan = add_preset(root, {BIRDS: "tiny-damsm"})
    evaluation, controls = plan.evaluation(BIRDS, "ssa_gan", "scratch", 64, 0, "text"), plan.controls(BIRDS, 64)
    made = "results/tiny/encoders/tiny-damsm/encoder.safetensors"
    assert evaluation.spec.encoder_file == controls.spec.encoder_file == made
    assert controls.inputs["encoder"] is evaluation.inputs["encoder"] is plan.encoder("tiny-damsm")
    assert "R-precision" in evaluation.spec.metrics and "kdx2i.encoders.matching" in evaluation.modules
    images = plan.evaluation("open-birds", "stargan_v2", "scratch", 64, 0, "latent")
    assert "encoder_file" not in images.spec.as_json() and "kdx2i.encoders.matching" not in images.modules
    assert "encoder_file" not in plan.controls("open-birds", 64).spec.as_json()
