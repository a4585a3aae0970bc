"""A real Slurm of this host makes what this machine makes: the same bytes, several jobs at once, whatever stops one.

The GPUs are none, and PyTorch is told that it sees four: each job of two takes other ones and trains by torchrun.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
SITE = """
import os
import sys
if "snakemake" in sys.orig_argv:
    # Snakemake asks Slurm how its jobs do every second: else ever more seldom.
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
    RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: None)
else:
    import torch
    torch.cuda.device_count = lambda: 4
if "RANK" in os.environ and "SEEN" in os.environ:
    with open(os.path.join(os.environ["SEEN"], "ranks"), "a") as handle:
        names = ("SLURM_JOB_ID", "RANK", "WORLD_SIZE", "CUDA_VISIBLE_DEVICES")
        print(*(os.environ.get(name, "-") for name in names), file=handle)
    # A training that is to be stopped takes its time, and nobody's.
    import time
    from torch.optim.optimizer import register_optimizer_step_post_hook
    slow = os.path.join(os.environ["SEEN"], "slow")
    register_optimizer_step_post_hook(lambda *words: time.sleep(0.5 if os.path.exists(slow) else 0))
"""
SLURM = ["--profile", "profiles/slurm", "--slurm-no-account", "--slurm-status-command", "squeue", "--retries", "1"]
SLURM += ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "20"]
SLURM += ["--slurm-status-attempts", "1"]  # A busy machine may make it ask sacct, which knows nothing here.


def make_copy(root: Path) -> Plan:
    """A copy whose Table 1 has one row, and whose trainings take two GPUs, with `site_of` it.

    A student is distilled beside it, in a partition whose jobs give way to others.
    """
    working_copy(root)
    site_of(root).mkdir()
    (site_of(root) / "sitecustomize.py").write_text(SITE)
    (root / "benchmarks/tables/table1.yaml").write_text(TABLE.replace("transfer: kd", "transfer: scratch"))
    preset = root / "benchmarks/presets/open-smoke.yaml"
    text = preset.read_text().replace("distill: {iterations: 2,", f"distill: {{iterations: {ITERATIONS},")
    preset.write_text(f"{text}resources: {{gpus: 2}}\n")
    profile = root / "profiles/slurm/config.yaml"
    profile.write_text(f"{profile.read_text()}set-resources:\n  - distill:slurm_partition=low\n")
    return make_plan(root, "open-smoke")


def site_of(root: Path) -> Path:
    """Return the folder of what all processes of a copy read first, and of what they tell."""
    return root.with_name(f"{root.name}-site")


def snakemake(root: Path, *words: str) -> "subprocess.Popen[bytes]":
    """Start Snakemake for the table and the student, with its words in `log.txt`."""
    plan, site = make_plan(root, "open-smoke"), site_of(root)
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


def before_it_ends(training: Leaf, process: "subprocess.Popen[bytes]", condition: Callable[[], bool]) -> None:
    """Wait until something holds while Snakemake works, and before the training has ended."""
    end = time.monotonic() + 1200
    while not condition():
        going = process.poll() is None and not training.provenance_path.exists()
        assert going and time.monotonic() < end, said(training.root)
        time.sleep(0.05)


def has(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text(errors="replace")


def test_a_table_and_a_training_that_is_stopped_twice_are_those_of_this_machine(cluster: Path, tmp_path: Path) -> None:
    root, here = tmp_path / "copy", tmp_path / "here"
    plan, expected, site = make_copy(root), make_copy(here), site_of(root)
    (site / "slow").touch()
    process, student = snakemake(root, *SLURM), wanted(plan)[1]
    log = root / "results/open-smoke/logs/distill/stargan_v2/kd/32/0.log"
    steps = student.work / "log.jsonl"
    # The student trains, and so does the row: its data may take longer than the student's first step.
    before_it_ends(student, process, lambda: has(steps, "}\n") and len((site / "ranks").read_text().splitlines()) == 4)
    # What this machine makes by itself it makes while there is waiting for Slurm.
    alone = snakemake(here, "--cores", "2")
    jobs = one_host_slurm.run("squeue", "-h", "-o", "%i %k").splitlines()
    (job,) = [line.split()[0] for line in jobs if "_kd_" in line]
    # What is urgent takes all GPUs, as soon as the row, which gives way to nobody, has its bytes.
    one_host_slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    one_host_slurm.run("sbatch", "--partition=urgent", "--gpus=4", "--output=/dev/null", "--wrap=true")
    before_it_ends(student, process, lambda: has(log, "stopped by SIGTERM after step "))
    written = steps.stat().st_mtime_ns
    one_host_slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    # Slurm itself starts it again; then its time is nearly up, so that it is warned, and Snakemake starts it again.
    before_it_ends(student, process, lambda: steps.stat().st_mtime_ns != written)
    one_host_slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=5")
    before_it_ends(student, process, lambda: has(log, "stopped by SIGUSR1"))  # Perhaps before its first step.
    (site / "slow").unlink()
    assert process.wait(1500) == 0, said(root)
    assert alone.wait(1500) == 0, said(here)
    assert outputs(plan) == outputs(expected)

    told = one_host_slurm.run("scontrol", "show", "job", job)
    assert "Restarts=1" in told and "JobState=FAILED" in told, told
    assert (root / "log.txt").read_text().count("Trying to restart job") == 1
    # One torchrun for each start of a job, with a process for each of its GPUs.
    ranks = [line.split(" ") for line in (site / "ranks").read_text().splitlines()]
    of_job = {one: [line for line in ranks if line[0] == one] for one in dict.fromkeys(line[0] for line in ranks)}
    once, twice = [["0", "2"], ["1", "2"]], [["0", "2"], ["0", "2"], ["1", "2"], ["1", "2"]]
    assert sorted(line[1:3] for line in of_job[job]) == twice
    first, *others = [sorted(line[1:3] for line in lines) for one, lines in of_job.items() if one != job]
    assert [first, *others] == [once, once], of_job
    # The row and the student began at once, on other GPUs.
    row = next(lines for one, lines in of_job.items() if one != job)
    devices = [set(lines[0][3].split(",")) for lines in (of_job[job], row)]
    assert [len(some) for some in devices] == [2, 2] and not devices[0] & devices[1]
