"""The workflow around students: a table of measures, shipped files instead of stage 1, recipes."""

import re
from pathlib import Path

import pytest
from repository import snakemake
from shipped import NAME, add_preset, pretend_shipped
from workflows import working_copy

pytestmark = pytest.mark.workflow
OWN = "stargan_v2 kd at 32 px"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with a made-up shipped student of kd, a preset that names it, and one that distils again."""
    root = working_copy(tmp_path_factory.mktemp("students") / "repository")
    pretend_shipped(root)
    add_preset(root, "again", {}, extends="shipped")
    return root


def jobs(root: Path, target: str, preset: str) -> set[str]:
    done = snakemake(root, target, "--cores", "2", "-n", "--config", f"preset={preset}")
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"^Job \d+: (.*)$", done.stdout + done.stderr, flags=re.MULTILINE))


def test_a_shipped_student_is_measured_and_not_distilled(copy: Path) -> None:
    asked = jobs(copy, "stage1", "shipped")
    assert f"measure the shipped student {OWN}" in asked
    assert f"distill {OWN}, seed 0" not in asked
    assert "distill stargan_v2 kd-l1 at 32 px, seed 0" in asked  # no file of that transfer is named
    assert "measures of stage 1 of preset shipped" in asked


def test_a_table_starts_from_the_shipped_student_unless_the_preset_distils_again(copy: Path) -> None:
    assert not [job for job in jobs(copy, "table1", "shipped") if job.startswith(("distill", "measure"))]
    assert f"distill {OWN}, seed 0" in jobs(copy, "table1", "again")


def test_students_of_recipes_are_a_target(copy: Path) -> None:
    assert f"student {NAME}, to be shipped" in jobs(copy, "students", "shipped")
