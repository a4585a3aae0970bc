"""A training killed with SIGKILL at any moment resumes and ends in the same bytes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import kill_worker
import pytest
import tiny

import kdx2i


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the worker saw."""
    path = os.pathsep.join([str(Path(kdx2i.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, kill_worker.__file__, str(tmp_path_factory.mktemp("killed"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", tiny.BUILDERS)
def test_killed_at_random_moments_it_ends_in_the_same_bytes(report, kind):
    harmed = report[kind]["harmed"]
    assert {name: harmed[name] for name in report[kind]["whole"]} == report[kind]["whole"]
    assert harmed["status"] == 0
    # The worker loaded what was there after every kill; it never went back.
    steps = [step or 0 for step in harmed["survived"]]
    assert len(steps) == kill_worker.KILLS
    assert steps == sorted(steps)
    assert harmed["left"] == []


@pytest.mark.parametrize("fault", kill_worker.FAULTS)
def test_killed_at_the_worst_moments_it_ends_in_the_same_bytes(report, fault):
    harmed = report["method"][fault]
    assert harmed["killed"] == -signal.SIGKILL
    assert harmed["survived"] == (4 if fault == "the file is just renamed" else 2)
    assert {name: harmed[name] for name in report["method"]["whole"]} == report["method"]["whole"]
