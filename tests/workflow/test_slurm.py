"""A real Slurm of this host makes what this machine makes: the same bytes, several jobs at once, and after a requeue.

The GPUs are none, and PyTorch is told that it sees four: each job of two takes other ones and trains by torchrun.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import one_host_slurm
import pytest
from kill_tree import TABLE
from one_host_slurm import slurm
from workflows import working_copy

from kdx2i.files import sha256_file
from kdx2i.plan import Leaf, Plan
from kdx2i.suite import make_plan

WHY_NOT = one_host_slurm.why_not()
pytestmark = [pytest.mark.workflow, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]

ITERATIONS = 60
GPUS = """
import os
import torch
torch.cuda.device_count = lambda: 4
if "RANK" in os.environ and "SEEN" in os.environ:
    with open(os.path.join(os.environ["SEEN"], "ranks"), "a") as handle:
        names = ("SLURM_JOB_ID", "RANK", "WORLD_SIZE", "CUDA_VISIBLE_DEVICES")
        print(*(os.environ.get(name, "-") for name in names), file=handle)
"""
SLURM = ["--profile", "profiles/slurm", "--slurm-no-account", "--slurm-status-command", "squeue", "--retries", "0"]
SLURM += ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "20"]
SLURM += ["--slurm-status-attempts", "1"]  # A busy machine may make it ask sacct, which knows nothing here.


def make_copy(root: Path) -> Plan:
    """A copy whose Table 1 has one row, and whose trainings take two GPUs; a student is distilled beside it."""
    working_copy(root)
    (root / "benchmarks/tables/table1.yaml").write_text(TABLE.replace("transfer: kd", "transfer: scratch"))
    preset = root / "benchmarks/presets/open-smoke.yaml"
    text = preset.read_text().replace("distill: {iterations: 2,", f"distill: {{iterations: {ITERATIONS},")
    preset.write_text(f"{text}resources: {{gpus: 2}}\n")
    return make_plan(root, "open-smoke")


def snakemake(root: Path, site: Path, *words: str) -> "subprocess.Popen[bytes]":
    """Start Snakemake for the table and the student, with its words in `log.txt`."""
    plan = make_plan(root, "open-smoke")
    targets = [str(leaf.directory / leaf.outputs[0]) for leaf in wanted(plan)]
    environment = {name: value for name, value in os.environ.items() if name not in ("KDX2I_ROOT", "KDX2I_WARM")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(site), str(root)]),
        "SEEN": str(site),
        "TMPDIR": str(site),
        "GLOO_SOCKET_IFNAME": "lo",
        "CUDA_VISIBLE_DEVICES": "0,1,2,3",
    }
    command = [sys.executable, "-m", "snakemake", *targets, *words, "--config", "preset=open-smoke"]
    with (root / "log.txt").open("wb") as log:
        return subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT)


def wanted(plan: Plan) -> list[Leaf]:
    return [plan.rendered("table1"), plan.distilled("stargan_v2", "kd", 32, 0)]


def outputs(plan: Plan) -> dict[str, str]:
    """Return the SHA-256 of all outputs of the results that are wanted, and of what they are made from."""
    leaves = [one for leaf in wanted(plan) for one in leaf.upstream()]
    return {f"{leaf.name}/{name}": sha256_file(leaf.file(name)) for leaf in leaves for name in leaf.outputs}


def said(root: Path) -> str:
    logs = [root / "log.txt", *(root / "results").rglob("*.log"), *(root / ".snakemake/slurm_logs").rglob("*.log")]
    return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-3000:]}" for path in logs)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("slurm")
    with slurm(folder):
        yield folder


def eventually(root: Path, process: "subprocess.Popen[bytes]", path: Path, text: str) -> None:
    """Wait until a file that Snakemake's jobs write has a text in it."""
    end = time.monotonic() + 1200
    while not (path.exists() and text in path.read_text(errors="replace")):
        assert process.poll() is None and time.monotonic() < end, said(root)
        time.sleep(0.05)


def test_a_table_and_a_requeued_training_are_those_of_this_machine(cluster: Path, tmp_path: Path) -> None:
    root, site = tmp_path / "copy", tmp_path / "site"
    plan = make_copy(root)
    site.mkdir()
    (site / "sitecustomize.py").write_text(GPUS)
    assert snakemake(root, site, "--cores", "2").wait(1500) == 0, said(root)
    here = outputs(plan)
    shutil.rmtree(root / "results")
    (site / "ranks").unlink()

    process, student = snakemake(root, site, *SLURM), wanted(plan)[1]
    log = root / "results/open-smoke/logs/distill/stargan_v2/kd/32/0.log"
    eventually(root, process, student.work / "log.jsonl", "}\n")
    (job,) = [
        line.split()[0] for line in one_host_slurm.run("squeue", "-h", "-o", "%i %k").splitlines() if "_kd_" in line
    ]
    one_host_slurm.run("scontrol", "requeue", job)
    eventually(root, process, log, f"of {ITERATIONS}, with a checkpoint: the same command goes on")
    assert process.wait(1500) == 0, said(root)
    assert outputs(plan) == here

    # One torchrun for a job, with a process for each of its GPUs; the requeued one has started twice.
    assert "Restarts=1" in one_host_slurm.run("scontrol", "show", "job", job)
    ranks = [line.split(" ") for line in (site / "ranks").read_text().splitlines()]
    of_student, of_run = ([line for line in ranks if (line[0] == job) is mine] for mine in (True, False))
    assert sorted(line[1:3] for line in of_student) == [["0", "2"], ["0", "2"], ["1", "2"], ["1", "2"]]
    assert sorted(line[1:3] for line in of_run) == [["0", "2"], ["1", "2"]]
    # Both began at once, on other GPUs.
    devices = [set(lines[0][3].split(",")) for lines in (of_student, of_run)]
    assert [len(some) for some in devices] == [2, 2] and not devices[0] & devices[1]
