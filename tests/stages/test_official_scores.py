"""A published checkpoint is asked and scored as a run of the preset is: the same numbers for the same weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from published_files import SMALL, Small, small_method, write_published
from repository import settings_copy

from kdx2i.cli import main
from kdx2i.foreign import read_document
from kdx2i.plan import Plan
from kdx2i.stages import evaluate, split
from kdx2i.stages.training_outputs import network_tensors
from kdx2i.suite import make_plan
from kdx2i.training.checkpoint import save_tensors

DATASET, RESOLUTION, MODE = "open-felid2canid", 32, "latent-dog2cat"
ASKED = ["--architecture", "stargan_v2", "--dataset", DATASET, "--preset", "open-smoke", "--mode", MODE]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    root = settings_copy(tmp_path / "root")
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    monkeypatch.chdir(root)
    return make_plan(root, "open-smoke")


@pytest.fixture
def small(plan: Plan) -> Small:
    networks = plan.run(DATASET, "stargan_v2", "scratch", RESOLUTION, 0).spec.networks
    return replace(SMALL["stargan_v2"], networks=networks, resolution=RESOLUTION, classes=2)


def test_a_checkpoint_scores_as_the_run_with_its_weights(plan: Plan, small: Small, tmp_path: Path) -> None:
    method = small_method(small)
    path = write_published(small, method, tmp_path / "published")
    leaf = plan.evaluation(DATASET, "stargan_v2", "scratch", RESOLUTION, 0, MODE)
    split.run(plan, leaf.inputs["split"])
    assert main(["score", "--checkpoint", str(path), *ASKED, "--json", str(tmp_path / "values.json")]) == 0
    document = json.loads((tmp_path / "values.json").read_text())
    save_tensors(leaf.inputs["run"].file("networks.safetensors"), network_tensors(method.averages), {})
    evaluate.run(plan, leaf)
    values = read_document(leaf.file("metrics.json"))["values"]
    assert set(values) == {"FID", "KIDx100"}
    assert document["values"] == values
    assert document["checkpoint"].keys() == {path.name}


def test_what_does_not_go_together_is_one_sentence(
    plan: Plan, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_published(small, small_method(small), tmp_path / "two"))
    three = replace(small, classes=3)
    other = str(write_published(three, small_method(three), tmp_path / "three"))
    split.run(plan, plan.split(DATASET))
    capsys.readouterr()
    for words, sentence in (
        (["--checkpoint", other, *ASKED], "was trained for 3 classes, and open-felid2canid has 2"),
        (["--checkpoint", path, *ASKED[:-2], "--mode", "sideways"], "has no mode `sideways`"),
        (["--checkpoint", path, *ASKED, "--resolution", "64"], "is a model of 32 px, not of 64 px"),
        (["--checkpoint", path, "--architecture", "stargan_v2"], "--dataset is missing"),
        (["--checkpoint", path, *ASKED, "--generated", "x"], "--generated does not go with --checkpoint"),
        (["--checkpoint", path, *ASKED, "--infinity"], "--infinity does not go with --checkpoint"),
        (["--generated", "x", "--reference", "y", "--mode", "latent"], "--mode goes with --checkpoint"),
        (["--checkpoint", str(tmp_path / "no.ckpt"), *ASKED], "no.ckpt does not exist"),
        (["--checkpoint", path, *ASKED[2:], "--architecture", "pix2pix"], "no published checkpoints of `pix2pix`"),
    ):
        assert main(["score", *words]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1


def test_without_its_split_nothing_is_scored(plan: Plan, small: Small, tmp_path: Path) -> None:
    path = write_published(small, small_method(small), tmp_path / "published")
    assert main(["score", "--checkpoint", str(path), *ASKED, "--json", str(tmp_path / "values.json")]) == 2
    assert not (tmp_path / "values.json").exists()
