"""The fingerprint of a training: what its first steps leave, whenever it was interrupted, and what a probe reads."""

import json

import pytest
import tiny

from kdx2i.training.fingerprint import FILE, STEPS, Probed, probing
from kdx2i.training.loop import LoopSettings, train


def hashes(work):
    return json.loads((work / FILE).read_text())


def test_an_interrupted_training_has_the_fingerprint_of_a_whole_one(tmp_path):
    tiny.run("method", tmp_path / "whole", 5)
    assert len(set(hashes(tmp_path / "whole"))) == STEPS
    with pytest.raises(tiny.Interruption):
        tiny.run("method", tmp_path / "stopped", 5, stop_at=2, checkpoint_every=1)
    tiny.run("method", tmp_path / "stopped", 5, checkpoint_every=1)
    assert hashes(tmp_path / "stopped") == hashes(tmp_path / "whole")


def test_a_training_that_goes_on_without_its_first_hashes_has_no_fingerprint(tmp_path):
    tiny.run("method", tmp_path, 2)
    (tmp_path / FILE).write_text("[")
    tiny.run("method", tmp_path, 5)
    assert (tmp_path / FILE).read_text() == "["


def test_a_probe_runs_the_first_steps_elsewhere_and_ends(tmp_path):
    tiny.run("teacher", tmp_path / "whole", 5)
    before = sorted((tmp_path / "whole").iterdir())
    with pytest.raises(Probed), probing(tmp_path / "probe"):
        tiny.run("teacher", tmp_path / "whole", 5)
    assert hashes(tmp_path / "probe") == hashes(tmp_path / "whole")
    assert sorted((tmp_path / "whole").iterdir()) == before


def test_another_loss_has_another_fingerprint_from_the_first_step(tmp_path, monkeypatch):
    train(tiny.method(), LoopSettings(3, 0), tmp_path / "one", "x")
    with pytest.raises(Probed), probing(tmp_path / "two"):
        train(tiny.method(lambda_cyc=1.01), LoopSettings(3, 0), tmp_path / "work", "x")
    assert hashes(tmp_path / "one")[0] != hashes(tmp_path / "two")[0]
