"""Killed stages, a full disk and two trainings at once end in the same bytes or in one sentence.

A bounded part of what `tests/faults/kill.py` and `tests/faults/scenarios.py` do.
"""

import json
import os
import subprocess
import sys
from typing import Any

import fault_worker
import pytest
from repository import ROOT


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    done = subprocess.run(
        [sys.executable, fault_worker.__file__, str(tmp_path_factory.mktemp("faults"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("stage", fault_worker.KILLS)
def test_a_killed_stage_ends_in_the_same_bytes_and_leaves_nothing(report: dict[str, Any], stage: str) -> None:
    tally = report["kills"][stage]
    assert tally["faults"] == []
    assert (tally["runs"], tally["same_bytes"]) == (1, 1)
    assert (tally["stuck_locks"], tally["left"]) == (0, 0)


def test_kills_have_struck_living_processes(report: dict[str, Any]) -> None:
    assert sum(tally["kills"] for tally in report["kills"].values()) >= 1


@pytest.mark.parametrize("name", fault_worker.SCENARIOS)
def test_a_fault_ends_in_a_sentence_or_in_the_same_bytes(report: dict[str, Any], name: str) -> None:
    verdict = report["faults"][name]
    if verdict["outcome"] == "skipped":
        pytest.skip(verdict["words"])
    expected = "same bytes" if name.startswith("two ") else "sentence"
    assert verdict["outcome"] == expected, verdict["words"]
