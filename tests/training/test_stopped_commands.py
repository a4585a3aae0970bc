"""A command that is asked to stop ends with 75 and a checkpoint: alone, started warm, and two processes of torchrun.

One distillation of a tiny student, since stage 1 needs no data. The torchrun is the real one: PyTorch is told that it
sees two GPUs, and the processes speak over gloo.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from fake_gpus import TWO
from forks import forks
from repository import kdx2i
from warm_server import eventually
from workflows import working_copy

from kdx2i.files import read_json, sha256_file
from kdx2i.plan import Leaf
from kdx2i.suite import make_plan
from kdx2i.training.checkpoint import load_tensors
from kdx2i.training.loop import NEWEST

WORDS = ["--preset", "open-smoke", "--architecture", "stargan_v2", "--transfer", "kd", "--resolution", "32"]
ITERATIONS = 60


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


def outputs(command: Distillation) -> dict[str, str]:
    """Return the SHA-256 of what the command has left at its end."""
    assert not command.leaf.work.exists()
    return {name: sha256_file(command.leaf.file(name)) for name in command.leaf.outputs}


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux do jobs start warm")
def test_stopped_alone_and_as_a_warm_job_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    command = make(tmp_path, 0)
    done = kdx2i(command.root, "distill", *WORDS)
    assert done.returncode == 0, done.stderr
    whole = outputs(command)
    for name in (*command.leaf.outputs, command.leaf.provenance):
        command.leaf.file(name).unlink()
    first = stopped(command, signal.SIGTERM)
    second = stopped(command, signal.SIGUSR1, KDX2I_WARM=forks().address)
    assert 0 < first < second < ITERATIONS
    done = kdx2i(command.root, "distill", *WORDS)
    assert done.returncode == 0, done.stderr
    assert outputs(command) == whole


@pytest.mark.nightly  # Slurm's test starts and stops two processes too.
def test_two_processes_of_torchrun_distil_one_student_and_stop_at_the_same_step(tmp_path: Path) -> None:
    command = make(tmp_path, 2)
    assert 0 < stopped(command, signal.SIGTERM) < ITERATIONS
    assert {path.name for path in command.site.glob("rank*")} == {"rank0", "rank1"}
    left = [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("SEEN") == str(command.site)]
    assert left == []
    process = command.start()
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 0, said
    assert not command.leaf.work.exists()
    steps = [json.loads(line)["step"] for line in command.leaf.file("log.jsonl").read_text().splitlines()]
    assert steps == [*range(0, ITERATIONS, 10), ITERATIONS - 1], "one process writes the log"
    assert read_json(command.leaf.provenance_path)["identity"] == command.leaf.identity
