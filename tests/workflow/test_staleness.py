"""The three staleness traps of Snakemake with DVC, and exact reruns; results are made up, the graph is real."""

import os
import random
import shutil
import time
from pathlib import Path

import pytest
import yaml
from repository import kdx2i, snakemake
from workflows import CONFIG, jobs

from kdx2i.plan import Plan

pytestmark = pytest.mark.workflow

TABLE = {"table1 of preset open-smoke", "compare table1 with the published numbers"}
KD = "stargan_v2 kd on open-birds at 32 px, seed 0"
SCRATCH = "stargan_v2 scratch on open-birds at 32 px, seed 0"


def evaluations(method: str) -> set[str]:
    return {f"evaluate {method}, {mode}" for mode in ("latent", "reference")}


DISTILL = {"distill stargan_v2 kd at 32 px, seed 0"}
KD_JOBS = {f"train {KD}"} | evaluations(KD)
SCRATCH_JOBS = {f"train {SCRATCH}"} | evaluations(SCRATCH)
SCORES = {"classifier of open-birds at 32 px", "control values of open-birds at 32 px"}


def edit(root: Path, stage: str, **values: object) -> None:
    path = root / "benchmarks/presets/open-smoke.yaml"
    data = yaml.safe_load(path.read_text())
    (data["architectures"]["stargan_v2"][stage] if stage != "evaluation" else data[stage]).update(values)
    path.write_text(yaml.safe_dump(data))


def shuffle_times(root: Path) -> None:
    """Give every result an arbitrary time, as a checkout does."""
    draw = random.Random(0)
    for path in sorted([*root.glob("results/**/*"), *root.glob("data/**/*")]):
        if path.is_file():
            os.utime(path, (1_500_000_000 + draw.randrange(10**8),) * 2)


def test_nothing_is_done_twice(pretended: Plan) -> None:
    assert jobs(pretended.root) == set()
    done = snakemake(pretended.root, "table1", "--cores", "2", *CONFIG)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_trap_1_a_missing_leaf_never_hides_behind_an_old_table(pretended: Plan) -> None:
    pretended.evaluation("open-birds", "stargan_v2", "kd", 32, 0, "latent").file("metrics.json").unlink()
    # The table will have the same identity, so what was compared still holds.
    assert jobs(pretended.root) == {f"evaluate {KD}, latent", "table1 of preset open-smoke"}
    pretended.run("open-birds", "stargan_v2", "scratch", 32, 0).file("networks.safetensors").unlink()
    assert f"train {SCRATCH}" in jobs(pretended.root)


def test_trap_1_a_failed_job_fails_again(pretended: Plan) -> None:
    leaf = pretended.evaluation("open-birds", "stargan_v2", "kd", 32, 0, "latent")
    leaf.provenance_path.unlink()
    # The made-up weights cannot be evaluated.
    done = snakemake(pretended.root, "table1", "--cores", "2", *CONFIG)
    assert done.returncode == 1
    assert "Error in rule evaluate" in done.stdout + done.stderr
    assert f"evaluate {KD}, latent" in jobs(pretended.root)
    assert kdx2i(pretended.root, "table", "table1", "--preset", "open-smoke").returncode == 2


def test_trap_2_a_clone_runs_nothing_again_whatever_the_times(pretended: Plan) -> None:
    shuffle_times(pretended.root)
    assert not (pretended.root / ".snakemake").exists()
    assert jobs(pretended.root) == set()


def test_trap_3_a_change_after_a_clone_is_seen_without_any_record(pretended: Plan) -> None:
    shuffle_times(pretended.root)
    edit(pretended.root, "distill", learning_rate=0.5)
    assert jobs(pretended.root) == DISTILL | KD_JOBS | TABLE
    refused = kdx2i(pretended.root, "table", "table1", "--preset", "open-smoke")
    assert refused.returncode == 2
    assert "is stale: it was made with other settings (distill.learning_rate)" in refused.stderr
    verified = kdx2i(pretended.root, "verify", "--preset", "open-smoke")
    assert verified.returncode == 1
    assert "results/open-smoke/distilled/stargan_v2/kd/r32/s0 is stale" in verified.stdout


def test_a_dry_run_has_no_consequences(pretended: Plan) -> None:
    original = (pretended.root / "benchmarks/presets/open-smoke.yaml").read_text()
    edit(pretended.root, "train", learning_rate=0.5)
    assert jobs(pretended.root) == KD_JOBS | SCRATCH_JOBS | TABLE
    (pretended.root / "benchmarks/presets/open-smoke.yaml").write_text(original)
    assert jobs(pretended.root) == set()


def test_an_evaluation_setting_trains_nothing(pretended: Plan) -> None:
    edit(pretended.root, "evaluation", images_per_class=3)
    expected = evaluations(KD) | evaluations(SCRATCH) | {"control values of open-birds at 32 px"} | TABLE
    assert jobs(pretended.root) == expected


def test_code_counts_and_comments_do_not(pretended: Plan) -> None:
    loop = pretended.root / "kdx2i/training/loop.py"
    source = loop.read_text()
    loop.write_text(source + "\n\n# A remark.\n")
    assert jobs(pretended.root) == set()
    loop.write_text(source + "\n\nREMARK = 1\n")
    assert jobs(pretended.root) >= DISTILL | KD_JOBS | SCRATCH_JOBS | TABLE
    loop.write_text(source)
    render = pretended.root / "kdx2i/tables/markdown.py"
    render.write_text(render.read_text() + "\n\nREMARK = 1\n")
    assert jobs(pretended.root) == TABLE


def test_a_new_split_makes_everything_of_its_dataset_again(pretended: Plan) -> None:
    path = pretended.root / "benchmarks/datasets/open-birds.yaml"
    data = yaml.safe_load(path.read_text())
    data["split"]["seed"] = 7
    path.write_text(yaml.safe_dump(data))
    assert jobs(pretended.root) == {"split open-birds"} | KD_JOBS | SCRATCH_JOBS | SCORES | TABLE


def test_another_seed_is_another_run(pretended: Plan) -> None:
    planned = jobs(pretended.root, "table1", "seeds=0,1")
    assert {job for job in planned if job.startswith("train")} == {
        f"train stargan_v2 {transfer} on open-birds at 32 px, seed 1" for transfer in ("kd", "scratch")
    }


def test_a_comparison_keeps_the_tables_that_are_current(pretended: Plan) -> None:
    assert "compare table1 table2 with the published numbers" in jobs(pretended.root, "table2")


def test_a_mistake_in_the_configuration_is_one_sentence(copy: Path) -> None:
    done = snakemake(copy, "table1", "--cores", "2", "-n", "--config", "preset=opne")
    assert done.returncode == 1
    assert "there is no preset `opne`; the presets are open" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# That of `open` is a step of its own of `.ci/run`.
@pytest.mark.parametrize("preset", [pytest.param("open", marks=pytest.mark.nightly), "paper"])
def test_the_whole_suite_can_be_planned_without_results(copy: Path, preset: str) -> None:
    shutil.rmtree(copy / "results", ignore_errors=True)
    done = snakemake(copy, "tables", "--cores", "2", "-n", "--config", f"preset={preset}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "table7 of preset" in done.stdout + done.stderr


def test_results_of_a_clock_that_was_ahead_do_no_harm(pretended: Plan) -> None:
    """Snakemake fails a job, and deletes what it made, where an input is newer."""
    ahead = time.time() + 7200
    for path in [*pretended.root.glob("results/**/*"), *pretended.root.glob("data/**/*")]:
        os.utime(path, (ahead, ahead))
    table = pretended.rendered("table1")
    table.file("table1.csv").write_text("edited by hand")
    os.utime(table.file("table1.csv"), (ahead, ahead))
    # The table will have the same identity, so what was compared still holds.
    assert jobs(pretended.root) == {"table1 of preset open-smoke"}
    done = snakemake(pretended.root, "table1", "--cores", "1", *CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert table.file("table1.csv").read_text().startswith("table,part,mode")
    assert jobs(pretended.root) == set()


def test_a_flipped_byte_of_weights_is_trained_again(pretended: Plan) -> None:
    weights = pretended.run("open-birds", "stargan_v2", "scratch", 32, 0).file("networks.safetensors")
    weights.write_bytes(b"!" + weights.read_bytes()[1:])
    assert f"train {SCRATCH}" in jobs(pretended.root)
