"""Teachers are results like all others: trained by a rule, grown from each other, shipped, and used by name."""

from pathlib import Path

import pytest
from repository import clone, kdx2i, snakemake

from kdx2i.files import read_json, sha256_file
from kdx2i.provenance import problem
from kdx2i.suite import make_plan
from kdx2i.teacher.stylegan2.weights import load_teacher

pytestmark = pytest.mark.workflow

SIZES = "{z_dim: 8, w_dim: 8, num_layers: 2, channel_base: 256, channel_max: 8}"
SMALL = f"""name: small
title: A small teacher
dataset: open-birds
resolution: 16
iterations: 2
batch: 2
sizes: {SIZES}
noise: none
"""
GROWN = f"""name: grown
title: A teacher that starts at the small one
dataset: open-birds
resolution: 32
iterations: 2
batch: 2
sizes: {SIZES}
noise: none
grow_from: small
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which `snakemake teachers` has trained two small teachers."""
    root = clone(tmp_path_factory.mktemp("copy") / "repository")
    folder = root / "benchmarks" / "teachers"
    for recipe in folder.glob("*.yaml"):
        recipe.unlink()
    (folder / "small.yaml").write_text(SMALL)
    (folder / "grown.yaml").write_text(GROWN)
    preset = root / "benchmarks" / "presets" / "open-smoke.yaml"
    preset.write_text(preset.read_text().replace("32: benchmarks/teachers/faces-r32-long.safetensors", "32: grown", 1))
    done = snakemake(root, "teachers", "--cores", "1", "--config", "preset=open-smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def test_a_teacher_is_a_current_result_and_is_not_trained_again(trained: Path) -> None:
    leaf = make_plan(trained, "open-smoke").teacher("grown")
    assert problem(leaf) is None
    assert {role: upstream.name for role, upstream in leaf.inputs.items()} == {
        "split": "data/open-birds",
        "teacher": "results/open-smoke/teachers/small",
    }
    again = snakemake(trained, "teachers", "--cores", "1", "-n", "--config", "preset=open-smoke")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_shipped_teacher_says_what_it_was_made_from(trained: Path) -> None:
    done = kdx2i(trained, "ship", "grown", "--preset", "open-smoke")
    assert done.returncode == 0, done.stderr
    weights = trained / "benchmarks" / "teachers" / "grown.safetensors"
    provenance = read_json(weights.with_suffix(".provenance.json"))
    assert provenance["sha256"] == sha256_file(weights)
    assert provenance["teacher"]["grow_from"] == "small" and provenance["images_seen"] == 4
    assert load_teacher(weights).generator.config.img_resolution == 32


def test_a_preset_may_name_a_teacher_that_the_workflow_trains(trained: Path) -> None:
    student = make_plan(trained, "open-smoke").distilled("stargan_v2", "kd", 32, 0)
    assert student.inputs["teacher"].name == "results/open-smoke/teachers/grown"
    assert student.spec.teacher_file == "results/open-smoke/teachers/grown/teacher.safetensors"


def test_an_unknown_teacher_is_one_sentence(trained: Path) -> None:
    done = kdx2i(trained, "teacher", "nobody")
    assert done.returncode == 2
    assert "there is no teacher `nobody`; the teachers are grown, small" in done.stderr
