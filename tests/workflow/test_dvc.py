"""DVC as its users use it: repro, push, a fresh clone, pull, repro, experiments, metrics, plots; results made up.

What is under test is which job would run and what DVC keeps; `test_end_to_end.py` does the same with trained results.
"""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from repository import run
from workflows import dvc, git, jobs, repository_of_dvc, said

pytestmark = pytest.mark.workflow

PRESET = "open-smoke"
TABLE = f"results/{PRESET}/tables/table1.csv"
UP_TO_DATE = "Data and pipelines are up to date"


@pytest.fixture
def origin(shared: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A repository in which `dvc repro` has made Table 1, committed, and pushed to a remote; for reading only."""
    return shared("repository-of-dvc", repository_of_dvc)


@pytest.fixture
def fresh(origin: Path, tmp_path: Path) -> Path:
    """A fresh clone after `dvc pull`."""
    git(tmp_path, "clone", "-q", str(origin), str(tmp_path / "fresh"))
    said(dvc(tmp_path / "fresh", "pull"))
    return tmp_path / "fresh"


def test_a_second_repro_does_nothing_and_says_so(origin: Path) -> None:
    assert UP_TO_DATE in said(dvc(origin, "repro"))


def test_pull_and_repro_in_a_fresh_clone_train_nothing_and_say_so(fresh: Path) -> None:
    assert (fresh / TABLE).is_file()
    assert UP_TO_DATE in said(dvc(fresh, "repro"))
    # The comparison alone is not kept: it is made of the tables.
    assert jobs(fresh) == {"compare table1 with the published numbers"}


def test_a_change_after_a_pull_runs_what_depends_on_it_alone(fresh: Path) -> None:
    """A clone has no records of Snakemake, and its time stamps say nothing (nor do they have to)."""
    path = fresh / "benchmarks/presets/open-smoke.yaml"
    path.write_text(path.read_text().replace("images_per_class: 2", "images_per_class: 3"))
    assert {job.split()[0] for job in jobs(fresh)} == {"evaluate", "control", "table1", "compare"}


def test_the_images_of_a_pulled_split_are_made_before_a_job_reads_them(fresh: Path) -> None:
    images = fresh / "data/open-birds/images"
    table = (fresh / "data/open-birds/split.csv").read_bytes()
    assert not images.exists()
    made = run(fresh, sys.executable, "-m", "kdx2i", "restore", "--splits", "--preset", PRESET)
    assert "data/open-birds: images made again" in said(made)
    assert (fresh / "data/open-birds/split.csv").read_bytes() == table and any(images.rglob("*.png"))
    assert said(run(fresh, sys.executable, "-m", "kdx2i", "restore", "--splits", "--preset", PRESET)) == ""
    assert UP_TO_DATE in said(dvc(fresh, "repro"))


def test_after_a_failed_job_no_old_table_is_there_and_nothing_is_trained_again(fresh: Path) -> None:
    """Persisted outputs stay, fresh ones go first; a stage that persists takes nothing from DVC's run-cache."""
    path = fresh / "benchmarks/presets/open-smoke.yaml"
    original = path.read_text()
    path.write_text(original.replace("images_per_class: 2", "images_per_class: 3"))
    for _ in range(2):
        failed = dvc(fresh, "repro")
        assert failed.returncode != 0, "made-up weights cannot be evaluated"
        assert not (fresh / TABLE).exists() and not (fresh / f"results/{PRESET}/metrics.json").exists()
    assert (fresh / f"results/{PRESET}/runs/open-birds/stargan_v2/kd/r32/s0/networks.safetensors").is_file()
    path.write_text(original)
    planned = jobs(fresh)
    assert not [job for job in planned if job.startswith(("train", "distill"))], planned
    cached = [file.read_text() for file in (fresh / ".dvc/cache/runs").rglob("*") if file.is_file()]
    assert not [text for text in cached if "snakemake" in text]


@pytest.mark.nightly
def test_an_experiment_with_another_preset_is_compared_with_the_commit(origin: Path, tmp_path: Path) -> None:
    """It starts from what dvc.lock has: DVC takes away what else lies in its outputs (docs/dvc.md)."""
    root = shutil.copytree(origin, tmp_path / "experiment", symlinks=True)
    screen = said(dvc(root, "exp", "run", "--name", "other-preset", "-S", "preset=other"))
    assert "Ran experiment(s): other-preset" in screen
    assert "train stargan_v2 kd on open-birds at 32 px, seed 0" in screen
    changed = said(dvc(root, "params", "diff", "HEAD", "other-preset", "--md"))
    assert "| params.yaml | preset | open-smoke | other " in " ".join(changed.split())
    shown = csv.DictReader(dvc(root, "exp", "show", "--csv", "--only-changed").stdout.splitlines())
    rows = {row["Experiment"] or row["rev"]: row for row in shown}
    assert {name: row["preset"] for name, row in rows.items() if name != "workspace"} == {
        git(root, "branch", "--show-current").strip(): PRESET,
        "other-preset": "other",
    }
    assert rows["other-preset"]["results/other/metrics.json:table1.latent.birds.Ours*.mFID"]
    metrics = json.loads(said(dvc(root, "metrics", "show", "--json")))
    assert "results/other/metrics.json" in json.dumps(metrics)


def test_metrics_are_compared_as_markdown_and_losses_are_plotted(fresh: Path) -> None:
    path = fresh / f"results/{PRESET}/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["table1"]["latent"]["birds"]["Ours*"]["mFID"] += 1.0
    path.write_text(json.dumps(metrics))
    lines = said(dvc(fresh, "metrics", "diff", "--md")).splitlines()
    assert [line for line in lines if "table1.latent.birds.Ours*.mFID" in line and line.rstrip(" |").endswith("1.0")]
    # A training that went otherwise is a second line in its plot.
    curves = [f"results/{PRESET}/curves/{of}-stargan_v2-kd-r32-s0.csv" for of in ("distilled", "runs-open-birds")]
    changed = fresh / curves[1]
    changed.write_text(f"{changed.read_text()}3,d,0.5\n")
    drawn = json.loads(dvc(fresh, "plots", "diff", "HEAD", "--json").stdout)
    drawn = drawn.get("data", drawn)
    assert set(curves) <= set(drawn)
    assert [sorted(plot["revisions"]) for plot in drawn[curves[1]]] == [["HEAD", "workspace"]]
    assert said(dvc(fresh, "plots", "show", "-o", "plots"))
    assert "<div" in (fresh / "plots/index.html").read_text()
