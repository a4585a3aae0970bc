"""The smallest preset for real: data, distillation, training, evaluation, table, comparison."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from repository import kdx2i, run_alone, snakemake
from workflows import CONFIG, dvc, git, jobs, said, split_birds_only, working_copy

from kdx2i.files import sha256_file
from kdx2i.inspection.crate import write_crate
from kdx2i.report.sources import Source
from kdx2i.study.analysis import analyse
from kdx2i.study.answers import read_answers, read_key
from kdx2i.suite import make_plan

pytestmark = pytest.mark.workflow

Shared = Callable[[str, Callable[[Path], None]], Path]
TABLE = "results/open-smoke/tables/table1.csv"
WEIGHTS = "results/open-smoke/runs/open-birds/stargan_v2/kd/r32/s0/networks.safetensors"


def make_one_at_a_time(root: Path) -> None:
    done = run_alone(working_copy(root), sys.executable, "-m", "snakemake", "table1", "--cores", "1", *CONFIG)
    (root / "screen.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr


def make_with_dvc(root: Path) -> None:
    """`dvc repro` in a clone under git: two jobs at once where there are two cores."""
    working_copy(root)
    split_birds_only(root)
    parameters = root / "params.yaml"
    data = yaml.safe_load(parameters.read_text())
    parameters.write_text(yaml.safe_dump({**data, "preset": "open-smoke", "targets": "table1"}))
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    done = dvc(root, "repro", "results")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def finished(shared: Shared, tmp_path: Path) -> Path:
    """A copy of a repository in which Table 1 was made with one job at a time."""
    return shutil.copytree(shared("one-at-a-time", make_one_at_a_time), tmp_path / "finished", symlinks=True)


@pytest.fixture
def reproduced(shared: Shared, tmp_path: Path) -> Path:
    """A copy of a repository in which `dvc repro` made Table 1."""
    return shutil.copytree(shared("with-dvc", make_with_dvc), tmp_path / "reproduced", symlinks=True)


def test_one_command_goes_from_data_to_the_table_on_the_screen(finished: Path) -> None:
    screen = (finished / "screen.txt").read_text()
    assert "Table 1: image-to-image translation with many classes" in screen
    assert "Ours*" in screen and "not yet computed" in screen
    shown = screen[screen.index("Table 1: ") : screen.index("\nkdx2i compare")]
    assert max(map(len, shown.splitlines())) <= 80
    for kind in ("csv", "md", "tex", "json"):
        assert (finished / TABLE).with_suffix(f".{kind}").stat().st_size > 0
    assert jobs(finished) == set()
    verified = kdx2i(finished, "verify", "table1", "--preset", "open-smoke")
    assert verified.returncode == 0, verified.stdout
    metrics = json.loads((finished / "results/open-smoke/metrics.json").read_text())
    assert set(metrics["table1"]["latent"]["birds"]["Ours*"]) == {"mKIDx100", "mFID", "RC", "FC"}


def test_claims_are_judged_by_the_tables_that_are_there(finished: Path) -> None:
    done = snakemake(finished, "claims", "--cores", "1", *CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "claims by open-smoke: 0 supported, 0 contradicted" in done.stdout
    document = json.loads((finished / "results/open-smoke/claims.json").read_text())
    assert document["counts"]["cannot tell"] > 0
    (finished / TABLE).unlink()
    done = snakemake(finished, "claims", "--cores", "1", *CONFIG)
    assert done.returncode == 1
    assert "preset open-smoke has no current table: make one first" in done.stdout + done.stderr


def test_the_user_study_goes_from_the_grids_to_preferences(finished: Path) -> None:
    """Its only job cuts the grids of the finished evaluations; one made-up subject then prefers ours everywhere."""
    path = finished / "benchmarks/user_study.yaml"
    design = {"dataset": "birds", "ours": "Ours*", "others": ["StarGANv2*"], "subjects": 1, "pairs": 8, "checks": 1}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **design}))
    done = snakemake(finished, "user_study", "--cores", "1", *CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 steps" in done.stderr
    assert "kdx2i study answers/*.json --preset open-smoke" in done.stdout
    page = (finished / "results/open-smoke/user_study.html").read_text()
    assert page.startswith("<!doctype html>") and "StarGANv2" not in page
    key = read_key(finished / "results/open-smoke/user_study.json")
    assert key.rows == ["Ours*", "StarGANv2*"]
    choices = ["left" if trial.left == 0 else "right" for trial in key.trials[0]]
    answers = [{"trial": number, "choice": choice, "ms": 900} for number, choice in enumerate(choices)]
    given = finished / "answers-01.json"
    given.write_text(json.dumps({"format": "kdx2i-answers-1", "study": key.study, "subject": 1, "answers": answers}))
    result = analyse(key, read_answers([given], key))
    assert [(share.row, share.share) for share in result.shares] == [("StarGANv2*", 1.0)]
    assert (result.complete, result.careless) == (1, [])


def test_a_crate_says_when_the_run_was_made(finished: Path, tmp_path: Path) -> None:
    source = Source(finished, Path("results/open-smoke"), "open-smoke", ("table1",), ())

    def action(name: str) -> dict[str, str]:
        document = json.loads((write_crate(source, tmp_path / name) / "ro-crate-metadata.json").read_text())
        return next(item for item in document["@graph"] if item["@id"] == "#run")

    run = action("crate")
    began, ended = (datetime.fromisoformat(run[key]) for key in ("startTime", "endTime"))
    made = (finished / TABLE).with_name("table1.provenance.json")
    assert began < datetime.fromtimestamp(made.stat().st_mtime, UTC) < ended + timedelta(seconds=1)
    assert ended - began < timedelta(hours=1)
    # A file that is not the one that a recorded job wrote: nobody knows when that was made.
    os.utime(finished / Path(WEIGHTS).with_name("provenance.json"), (0, 0))
    assert not {"startTime", "endTime"} & set(action("later"))


def test_the_number_of_jobs_changes_no_byte(finished: Path, reproduced: Path) -> None:
    assert (finished / TABLE).read_bytes() == (reproduced / TABLE).read_bytes()
    assert (finished / WEIGHTS).read_bytes() == (reproduced / WEIGHTS).read_bytes()


def locked_splits(text: str) -> dict[str, str]:
    """Return the MD5 of each split in the text of a `dvc.lock`."""
    stages = yaml.safe_load(text)["stages"]
    return {o["path"]: o["md5"] for s in stages.values() for o in s["outs"] if o["path"].endswith("split.csv")}


def test_dvc_makes_a_split_with_the_committed_hash(reproduced: Path) -> None:
    """`dvc repro` in a clone had to make the split again, and locked the same bytes."""
    committed = locked_splits(git(reproduced, "show", "HEAD:dvc.lock"))
    assert (reproduced / "data/open-birds/split.csv").is_file()
    assert "data/open-birds/split.csv" in committed
    assert locked_splits((reproduced / "dvc.lock").read_text()) == committed


@pytest.mark.nightly
def test_dvc_makes_every_split_with_the_committed_hash(copy: Path) -> None:
    committed = locked_splits((copy / "dvc.lock").read_text())
    git(copy, "init", "-q")
    said(dvc(copy, "repro", "split", "split-with-conditions"))
    assert all((copy / path).is_file() for path in committed)
    assert locked_splits((copy / "dvc.lock").read_text()) == committed


def test_dvc_compares_metrics_between_commits(reproduced: Path) -> None:
    git(reproduced, "add", "-A")
    git(reproduced, "commit", "-qm", "results")
    path = reproduced / "results/open-smoke/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["table1"]["latent"]["birds"]["Ours*"]["mFID"] += 1.0
    path.write_text(json.dumps(metrics))
    done = dvc(reproduced, "metrics", "diff", "--json")
    assert done.returncode == 0, done.stderr
    changes = json.loads(done.stdout)["results/open-smoke/metrics.json"]
    assert [change["diff"] for change in changes.values()] == [pytest.approx(1.0)]
    assert "mFID" in next(iter(changes))


def test_a_clone_pulls_restores_and_runs_only_what_changed(reproduced: Path, tmp_path: Path) -> None:
    git(reproduced, "add", "-A")
    git(reproduced, "commit", "-qm", "results")
    # DVC wants a remote that both can reach.
    said(dvc(reproduced, "remote", "add", "-d", "store", str(tmp_path / "store")))
    said(dvc(reproduced, "push"))
    git(reproduced, "commit", "-qam", "remote")
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "-q", str(reproduced), str(fresh))
    pulled = dvc(fresh, "pull", "results", "split@open-birds", "--allow-missing")
    assert (fresh / WEIGHTS).is_file(), pulled.stderr
    restored = kdx2i(fresh, "restore", "--preset", "open-smoke")
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout.startswith("0 results removed")
    # Nothing has to run that DVC keeps, though no time stamp and no record is left.
    assert jobs(fresh) == {"compare table1 with the published numbers"}
    path = fresh / "benchmarks/presets/open-smoke.yaml"
    path.write_text(path.read_text().replace("images_per_class: 2", "images_per_class: 3"))
    planned = jobs(fresh)
    assert {job.split()[0] for job in planned} == {"evaluate", "control", "table1", "compare"}
    assert kdx2i(fresh, "restore", "--preset", "open-smoke").stdout.count("removed: ") == 6


@pytest.mark.nightly  # tests/faults kills a stage, tests/training a training at its worst moments.
def test_a_killed_training_ends_in_the_same_bytes(finished: Path) -> None:
    root = finished
    path = root / "benchmarks/presets/open-smoke.yaml"
    text = path.read_text()
    budget = "train: {iterations: 24, "
    path.write_text(text.replace("train: {iterations: 2, ", budget) + "checkpoints: {steps: 3}\n")
    assert budget in path.read_text()
    leaf = make_plan(root, "open-smoke").run("open-birds", "stargan_v2", "kd", 32, 0)
    words = ["train", "--preset", "open-smoke", "--dataset", "open-birds", "--architecture", "stargan_v2"]
    words += ["--transfer", "kd", "--resolution", "32"]
    assert kdx2i(root, *words).returncode == 0
    whole = sha256_file(leaf.file("networks.safetensors"))
    for name in (*leaf.outputs, leaf.provenance):
        leaf.file(name).unlink()
    kill_when(root, words, lambda: (leaf.work / "checkpoint.safetensors").exists())
    assert not leaf.provenance_path.exists()
    assert (leaf.work / "checkpoint.safetensors").exists()
    assert kdx2i(root, *words).returncode == 0
    assert sha256_file(leaf.file("networks.safetensors")) == whole


def kill_when(root: Path, words: list[str], ready: Callable[[], bool]) -> None:
    """Start a command and kill it (SIGKILL) at a random moment after `ready`."""
    command = [sys.executable, "-m", "kdx2i", *words]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(random.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def test_a_damaged_image_is_named(finished: Path) -> None:
    image = sorted((finished / "data/open-birds/images").rglob("*.png"))[3]
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 0xFF
    image.write_bytes(bytes(content))
    done = kdx2i(finished, "split", "--dataset", "open-birds", "--check")
    assert done.returncode == 2
    assert image.name in done.stderr


def test_corrupt_weights_are_one_sentence(finished: Path) -> None:
    path = finished / WEIGHTS
    path.write_bytes(path.read_bytes()[:100])
    words = ["evaluate", "--dataset", "open-birds", "--architecture", "stargan_v2", "--transfer", "kd"]
    done = kdx2i(finished, *words, "--resolution", "32", "--mode", "latent", "--preset", "open-smoke")
    assert done.returncode == 2
    assert "networks.safetensors is not the file that was written" in done.stderr
    (finished / "benchmarks/teachers/faces-r32-long.safetensors").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    words = ["distill", "--architecture", "stargan_v2", "--resolution", "32", "--preset", "open-smoke"]
    done = kdx2i(finished, *words)
    assert done.returncode == 2
    assert "faces-r32-long.safetensors" in done.stderr and "Traceback" not in done.stderr


def test_figures_and_directions_are_made_from_the_same_runs(finished: Path) -> None:
    """A grid of each kind, twice the same bytes; a table of two directions."""
    kinds = ("figure7", "figure8", "figure19", "figure20", "figure21")
    folder = finished / "results/open-smoke/figures"
    hashes = []
    for _ in range(2):
        done = snakemake(finished, *kinds, "--cores", "2", *CONFIG)
        assert done.returncode == 0, done.stdout + done.stderr
        hashes.append({name: sha256_file(folder / f"{name}.png") for name in kinds})
        caption = json.loads((folder / "figure21.json").read_text())
        assert "Ours" in caption["drawn_from"] and "SDIT" in caption["left_out"]
        shutil.rmtree(folder)
    assert hashes[0] == hashes[1]
    done = snakemake(finished, "table4", "--cores", "2", *CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr
    run_of = finished / "results/open-smoke/runs/open-felid2canid/stargan_v2/kd/r32/s0"
    scores = json.loads((run_of / "latent-dog2cat/metrics.json").read_text())
    assert scores["direction"] == ["canid", "felid"] and set(scores["values"]) == {"FID", "KIDx100"}
    assert scores["values"]["FID"]["n_generated"] == 4
    controls = json.loads((finished / "results/open-smoke/controls/open-felid2canid/r32/metrics.json").read_text())
    assert set(controls["directions"]["cat2dog"]) == {
        "real_vs_real",
        "input_copied",
        "class_mean",
        "blank",
        "noise",
    }
    markdown = (finished / "results/open-smoke/tables/table4.md").read_text()
    assert "Real against real" in markdown and "TransferI2I has no mode" not in markdown
