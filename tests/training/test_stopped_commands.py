"""A command that is asked to stop ends with 75 and a checkpoint, alone, started warm and under torchrun.

One distillation of a tiny student: stage 1 needs no data.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from fake_gpus import TWO
from warm_server import Owner, eventually
from workflows import working_copy

from kdx2i.files import sha256_file
from kdx2i.plan import Leaf
from kdx2i.suite import make_plan
from kdx2i.training.checkpoint import load_tensors
from kdx2i.training.loop import NEWEST

WORDS = ["--preset", "open-smoke", "--architecture", "stargan_v2", "--transfer", "kd", "--resolution", "32"]
ITERATIONS = 100


@dataclass
class Distillation:
    """The command in a working copy of its own."""

    root: Path
    site: Path

    @property
    def leaf(self) -> Leaf:
        return make_plan(self.root, "open-smoke").distilled("stargan_v2", "kd", 32, 0)

    def start(self, **more: str) -> "subprocess.Popen[str]":
        environment = {name: value for name, value in os.environ.items() if name not in ("KDX2I_WARM", "KDX2I_ROOT")}
        return subprocess.Popen(
            [sys.executable, "-m", "kdx2i", "distill", *WORDS],
            cwd=self.root,
            env={
                **environment,
                "PYTHONPATH": os.pathsep.join([str(self.site), str(self.root)]),
                "TMPDIR": str(self.site),
                "SEEN": str(self.site),
                "CUDA_VISIBLE_DEVICES": "0,1",
                "GLOO_SOCKET_IFNAME": "lo",
                "OMP_NUM_THREADS": "1",
                **more,
            },
            stderr=subprocess.PIPE,
            text=True,
        )

    def outputs(self) -> dict[str, str]:
        return {name: sha256_file(self.leaf.file(name)) for name in self.leaf.outputs}

    def clear(self) -> None:
        for name in (*self.leaf.outputs, self.leaf.provenance):
            self.leaf.file(name).unlink()


def stopped(command: Distillation, number: signal.Signals, **more: str) -> int:
    """Start the command, send the signal when it trains, see how it ends, and return the step of its checkpoint."""
    log = command.leaf.work / "log.jsonl"
    logged = log.stat().st_size if log.exists() else 0
    process = command.start(**more)
    eventually(lambda: process.poll() is not None or (log.exists() and log.stat().st_size > logged), 100)
    process.send_signal(number)
    said = process.communicate(timeout=100)[1]
    assert process.returncode == 75, said
    step = int(load_tensors(command.leaf.work / NEWEST)[1]["step"])
    sentence = (
        f"stopped by {number.name} after step {step} of {ITERATIONS}, with a checkpoint: the same command goes on"
    )
    assert said.count(sentence) == 1, said
    assert not command.leaf.provenance_path.exists()
    return step


def make(folder: Path, gpus: int) -> Distillation:
    root = working_copy(folder / "copy")
    preset = root / "benchmarks/presets/open-smoke.yaml"
    text = preset.read_text().replace("distill: {iterations: 2,", f"distill: {{iterations: {ITERATIONS},")
    preset.write_text(f"{text}resources: {{gpus: {gpus}}}\n")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(TWO if gpus else "")
    return Distillation(root, folder / "site")


def whole(command: Distillation) -> dict[str, str]:
    """Run the command to its end, undisturbed; return what it leaves, which is removed."""
    process = command.start()
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 0, said
    made = command.outputs()
    command.clear()
    return made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Distillation, dict[str, str]]]:
    command = make(tmp_path_factory.mktemp("alone"), 0)
    yield command, whole(command)


def test_stopped_twice_it_ends_in_the_same_bytes(alone: tuple[Distillation, dict[str, str]]) -> None:
    command, made = alone
    first, second = stopped(command, signal.SIGTERM), stopped(command, signal.SIGUSR1)
    assert 0 < first < second < ITERATIONS
    assert whole(command) == made
    assert not command.leaf.work.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux do jobs start warm")
def test_a_warm_job_stops_when_its_caller_is_asked_to(alone: tuple[Distillation, dict[str, str]]) -> None:
    command, made = alone
    owner = Owner(PYTHONPATH=os.pathsep.join([str(command.site), str(command.root)]))
    try:
        assert 0 < stopped(command, signal.SIGTERM, KDX2I_WARM=owner.address) < ITERATIONS
    finally:
        owner.end()
    assert whole(command) == made


def test_two_processes_of_torchrun_stop_at_the_same_step(tmp_path: Path) -> None:
    command = make(tmp_path, 2)
    made = whole(command)
    assert 0 < stopped(command, signal.SIGTERM) < ITERATIONS
    left = [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("SEEN") == str(command.site)]
    assert left == []
    assert whole(command) == made
