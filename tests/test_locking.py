"""Two processes that make one result never do it at once, and a killed one leaves no lock."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import ROOT, fabricate_all, settings_copy

from kdx2i.cli.locking import FOLDER, lock_path, making
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import problem
from kdx2i.suite import make_plan

WORKER = """
import sys, time, types
from pathlib import Path
from repository import fabricate
from kdx2i.cli.running import run_leaf
from kdx2i.suite import make_plan

root, waits = Path(sys.argv[1]), sys.argv[2] == "waits"

def run(plan, leaf):
    with (root / "log").open("a") as log:
        log.write("begin\\n")
        log.flush()
        while waits and not (root / "go").exists():
            time.sleep(0.02)
        fabricate(plan, leaf)
        log.write("end\\n")

sys.modules["kdx2i.stages.controls"] = types.SimpleNamespace(run=run)
plan = make_plan(root, "open-smoke")
run_leaf(plan, plan.controls("open-birds", 32))
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = make_plan(settings_copy(tmp_path), "open-smoke")
    fabricate_all(plan, "table1")
    controls(plan).provenance_path.unlink()
    return plan


def controls(plan: Plan) -> Leaf:
    return plan.controls("open-birds", 32)


def worker(plan: Plan, waits: str = "") -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(plan.root), waits],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(plan: Plan) -> list[str]:
    path = plan.root / "log"
    return path.read_text().split() if path.exists() else []


def until_begun(plan: Plan, times: int = 1) -> None:
    end = time.monotonic() + 120
    while lines(plan).count("begin") < times and time.monotonic() < end:
        time.sleep(0.02)
    assert lines(plan).count("begin") == times


def test_the_second_of_two_waits_and_finds_the_result_made(plan: Plan) -> None:
    first = worker(plan, "waits")
    until_begun(plan)
    second = worker(plan)
    assert second.stderr is not None
    said = second.stderr.readline()
    (plan.root / "go").touch()
    made = second.communicate()[1]
    first.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert lines(plan) == ["begin", "end"]
    name = "results/open-smoke/controls/open-birds/r32"
    assert f"{name} is being made by process {first.pid} on " in said
    assert made == f"{name} is made\n"
    assert problem(controls(plan)) is None
    assert list((plan.root / FOLDER).iterdir()) == []


def test_a_killed_holder_leaves_no_lock(plan: Plan) -> None:
    first = worker(plan, "waits")
    until_begun(plan)
    second = worker(plan)
    assert second.stderr is not None
    assert "waiting for it to end" in second.stderr.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second.communicate()
    # The killed one made nothing, so the second does the work.
    assert second.returncode == 0
    assert lines(plan) == ["begin", "begin", "end"]
    assert worker(plan).wait() == 0
    assert list((plan.root / FOLDER).iterdir()) == []


def test_one_after_the_other_makes_it_twice(plan: Plan) -> None:
    """Without another process a command does what it says, also where the result is there."""
    assert [worker(plan).wait() for _ in range(2)] == [0, 0]
    assert lines(plan) == ["begin", "end"] * 2


def test_of_many_at_once_one_works_at_a_time(plan: Plan) -> None:
    workers = [worker(plan) for _ in range(3)]
    for one in workers:
        one.communicate()
    assert [one.returncode for one in workers] == [0] * 3
    seen = lines(plan)
    assert seen == ["begin", "end"] * (len(seen) // 2)


def test_only_the_first_process_of_torchrun_holds_the_lock(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = controls(plan)
    with making(leaf):
        assert lock_path(leaf).read_text().startswith(f"process {os.getpid()} on ")
        monkeypatch.setenv("RANK", "1")
        with making(leaf) as waited:
            assert not waited


def test_other_results_are_not_waited_for(plan: Plan) -> None:
    with making(controls(plan)), making(plan.split("open-birds")) as waited:
        assert not waited


def test_a_file_system_without_locks_is_worked_on_and_said(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("kdx2i.cli.locking.fcntl.flock", refuse)
    with making(controls(plan)) as waited:
        assert not waited
    assert "r32 is made without a lock, which this file system does not have" in capsys.readouterr().err
