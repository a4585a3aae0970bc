"""What a runner with a GPU does with a commit (`.ci/gpu`), on the smallest preset, without a GPU; results made up."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from forks import forks
from repository import run
from workflows import git, repository_of_dvc, said

pytestmark = pytest.mark.workflow


@pytest.fixture
def checkout(shared: Callable[[str, Callable[[Path], None]], Path], tmp_path: Path) -> Path:
    """A fresh clone, in which nothing has been pulled."""
    git(tmp_path, "clone", "-q", str(shared("repository-of-dvc", repository_of_dvc)), str(tmp_path / "checkout"))
    return tmp_path / "checkout"


def expectation(root: Path, *, fulfilled: bool) -> Path:
    """Write an expectation of the made-up numbers that holds, or one that does not."""
    rows = json.loads((root / "results/open-smoke/metrics.json").read_text())["table1"]["latent"]["birds"]
    best, worst = sorted(rows, key=lambda label: rows[label]["mFID"], reverse=not fulfilled)
    wanted = {"table": "table1", "part": "latent", "dataset": "birds", "metric": "mFID", "better": best, "than": worst}
    path = root / "expected.yaml"
    path.write_text(yaml.safe_dump({"expectations": [wanted]}))
    return path


def script(root: Path, **variables: str):
    settings = {"KDX2I_GPUS": "0", "KDX2I_SUMMARY": "summary.md", "KDX2I_REMOTE": str(store(root)), **variables}
    if sys.platform == "linux":
        settings["KDX2I_WARM"] = forks().address
    return run(root, "env", *(f"{name}={value}" for name, value in settings.items()), ".ci/gpu")


def store(root: Path) -> Path:
    return Path(git(root, "remote", "get-url", "origin").strip()).parent / "store"


def test_it_pulls_makes_nothing_again_and_ends_as_the_expectations_say(checkout: Path) -> None:
    expected = expectation(checkout, fulfilled=True)
    screen = said(script(checkout, KDX2I_EXPECT=str(expected)))
    assert "train stargan_v2" not in screen and screen.count("Data and pipelines are up to date") == 2
    summary = (checkout / "summary.md").read_text()
    assert summary.startswith("# Passed\n")
    for words in ("results are current and whole", "verdicts: 0 reproduced", "Budget of Ours", "| Method |", "cpu"):
        assert words in summary, words
    (checkout / "summary.md").unlink()
    expectation(checkout, fulfilled=False)
    failed = script(checkout, KDX2I_EXPECT=str(expected))
    assert failed.returncode == 1
    assert (checkout / "summary.md").read_text().startswith("# Failed at: compare\n")


def test_without_a_gpu_nothing_begins(checkout: Path) -> None:
    failed = script(checkout, KDX2I_GPUS="1", CUDA_VISIBLE_DEVICES="")
    assert failed.returncode == 1
    assert failed.stderr.endswith("this runner needs 1 GPU(s) and PyTorch sees 0\n")
    assert not (checkout / "results/open-smoke/tables").exists() and not (checkout / "data/open-birds").exists()
