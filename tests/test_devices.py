"""GPUs of one machine, with devices that only their names stand for: disjoint, waited for, handed to torchrun."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdx2i import devices
from kdx2i.errors import UserError
from kdx2i.suite import make_plan
from tests.support.repository import ROOT, clone


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "LOOK_EVERY", 0.02)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.delenv("RANK", raising=False)


@pytest.mark.parametrize(
    ("named", "found"), [("0, 3", ["0", "3"]), ("GPU-5a,MIG-7", ["GPU-5a", "MIG-7"]), ("", []), ("-1", [])]
)
def test_visible_devices_are_those_that_are_named(monkeypatch: pytest.MonkeyPatch, named: str, found: list[str]):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert devices.visible() == found


def test_jobs_of_one_machine_take_disjoint_devices_and_give_them_back():
    with devices.taken(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        os.environ["CUDA_VISIBLE_DEVICES"] = "0,1,2"  # what another job would see
        with devices.taken(2):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,2"
        with devices.taken(1):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    with devices.taken(3):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"


def _hold(count: int, taken, seconds: float) -> None:
    with devices.taken(count):
        taken.put((os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic()))
        time.sleep(seconds)
        taken.put(("end", time.monotonic()))


def test_a_job_waits_until_enough_devices_are_free(capfd: pytest.CaptureFixture[str]):
    context = multiprocessing.get_context("fork")
    taken = context.Queue()
    other = context.Process(target=_hold, args=(2, taken, 0.4))
    other.start()
    assert taken.get(timeout=20)[0] == "0,1"
    with devices.taken(2):
        entered = time.monotonic()
    other.join(20)
    assert taken.get(timeout=20)[1] <= entered
    assert "waiting for 2 of the GPUs 0, 1, 2: other jobs have them" in capfd.readouterr().err


def test_jobs_of_slurm_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch):
    """Their GPUs are others, though each job may call its own 0."""
    context = multiprocessing.get_context("fork")
    taken = context.Queue()
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    other = context.Process(target=_hold, args=(3, taken, 60))
    other.start()
    taken.get(timeout=20)
    monkeypatch.setenv("SLURM_JOB_ID", "2")
    with devices.taken(3):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    other.kill()
    other.join(20)


def test_a_killed_job_holds_nothing():
    context = multiprocessing.get_context("fork")
    taken = context.Queue()
    other = context.Process(target=_hold, args=(3, taken, 60))
    other.start()
    taken.get(timeout=20)
    other.kill()
    other.join(20)
    with devices.taken(3):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"


@pytest.mark.parametrize(("count", "rank"), [(0, None), (4, None), (1, "1")])
def test_nothing_is_held_without_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, rank: str | None):
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    with devices.taken(count):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"
        assert not list(tmp_path.iterdir())


def test_a_process_that_becomes_another_keeps_its_devices(tmp_path: Path):
    code = (
        "import os, sys; from kdx2i import devices; devices.tempfile.gettempdir = lambda: sys.argv[1]\n"
        "with devices.taken(2):\n"
        "    os.execv(sys.executable, [sys.executable, '-c', \"print(1, flush=True); input()\"])"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert other.stdin is not None and other.stdout is not None
    assert other.stdout.readline()
    with devices.taken(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    other.communicate(b"\n", timeout=20)
    with devices.taken(3):
        pass


def test_a_preset_of_two_gpus_trains_under_torchrun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from kdx2i.cli import running

    root = clone(tmp_path / "repository")
    path = root / "benchmarks" / "presets" / "open-smoke.yaml"
    path.write_text(path.read_text() + "resources: {gpus: 2}\n")
    plan = make_plan(root, "open-smoke")
    student = plan.distilled("stargan_v2", "kd", 32, 0)
    became: list[list[str]] = []
    seen = [2]
    monkeypatch.setattr("torch.cuda.device_count", lambda: seen[0])

    def become(program: str, words: list[str], environment: dict[str, str]) -> None:
        became.append(words)
        assert environment["CUDA_VISIBLE_DEVICES"] == "0,1"
        raise SystemExit(0)

    monkeypatch.setattr(devices.os, "execve", become)
    with pytest.raises(SystemExit):
        running.run_leaf(plan, student)
    launcher = " ".join(became[0][1:9])
    assert launcher == "-m kdx2i.launcher --standalone --nproc-per-node 2 -m kdx2i distill"
    seen[0] = 1
    with pytest.raises(UserError, match=r"asks for 2 GPU\(s\) a job and PyTorch sees 1"):
        running.run_leaf(plan, student)
