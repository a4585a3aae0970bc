"""The harness itself: it fills as published and it sees what is wrong."""

import json

import numpy as np
import pytest
import torch

from . import harness

ENTRY = {
    "tolerance": {"rtol": 1e-5},
    "outputs": [{"key": "y", "meaning": "a matrix", "full_shape": [4, 6], "stride": [1, 3], "atol": 1e-3}],
}
FULL = torch.arange(24.0).reshape(4, 6)
STORED = {"y": FULL[:, ::3].numpy()}


def test_equal_outputs_pass():
    assert list(harness.failures(ENTRY, STORED, {"y": FULL})) == []


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, "not computed"),
        ({"y": FULL[:3]}, "shape"),
        ({"y": FULL + 2e-3}, "largest difference"),
        ({"y": torch.full((4, 6), torch.nan)}, "largest difference"),
    ],
)
def test_each_defect_is_reported(outputs, words):
    (sentence,) = harness.failures(ENTRY, STORED, outputs)
    assert sentence.startswith("y: ")
    assert words in sentence


def test_only_the_sampled_positions_count():
    changed = FULL.clone()
    changed[:, 1] += 1.0
    assert list(harness.failures(ENTRY, STORED, {"y": changed})) == []


def test_a_stated_share_of_looked_up_elements_may_differ():
    mismatch = {"threshold": 1e-3, "allowed_fraction": 0.25}
    entry = {**ENTRY, "outputs": [{**ENTRY["outputs"][0], "mismatch": mismatch}]}
    changed = FULL.clone()
    changed[:2, 0] += 1.0
    assert list(harness.failures(entry, STORED, {"y": changed})) == []
    changed[2, 0] = torch.nan
    changed[2, 3] += 1.0
    # A value that is not a number differs, too.
    (sentence,) = harness.failures(entry, STORED, {"y": changed})
    assert "differ" in sentence


def test_fill_gain_and_constants():
    entry = {"state": [["a.weight", [3, 4], "float32"], ["a.bias", [3], "float32"], ["k", [2, 2], "float32"]]}
    plain = harness.filled_state(entry, 1.0, {"k": np.ones((2, 2), np.float32)})
    doubled = harness.filled_state(entry, 2.0, {"k": np.ones((2, 2), np.float32)})
    assert torch.equal(doubled["a.weight"], 2 * plain["a.weight"])
    assert torch.equal(doubled["a.bias"], plain["a.bias"])
    assert torch.equal(doubled["k"], torch.ones(2, 2))


def test_a_family_without_adapter_is_listed(tmp_path):
    folder = tmp_path / "no_such_family"
    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps({"modules": {"m": {"config": {}}}}))
    assert [str(case) for case in harness.cases(tmp_path)] == ["no_such_family/m"]
    assert harness.adapter("no_such_family") is None
    assert harness.paper_cases(tmp_path) == []


def test_a_wrong_input_sum_fails():
    item = {"name": "family/module/x", "shape": [2, 3], "low": -1.0, "high": 1.0, "sum": 100.0}
    with pytest.raises(AssertionError, match="input family/module/x"):
        harness.inputs({"inputs": [item]})
