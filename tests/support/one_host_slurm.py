"""A Slurm of this host alone, with four GPUs that are none: for tests of the profile `slurm`.

Jobs of the partition `low` are requeued where `urgent` needs their place, those of `main` are not.

It takes Debian's `slurm-wlm` and `munge`, root, and the place of `/etc/slurm/slurm.conf`, where no other Slurm may be,
since what jobs need is looked for there. All else lies in one folder, and the daemons listen on 127.0.0.1 only.
"""

import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

SETTINGS = Path("/etc/slurm")
MARK = "# Of the tests of kdx2i: it may be removed.\n"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
CONF = """ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
# A requeued job waits for as long as a credential lives.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=600
KillWait=60
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:4
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes={host} Default=YES State=UP PriorityTier=1 PreemptMode=OFF
PartitionName=low Nodes={host} State=UP PriorityTier=1
PartitionName=urgent Nodes={host} State=UP PriorityTier=2
"""


def why_not() -> str | None:
    """Return why there can be no such Slurm here; None where there can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"{missing[0]} is not installed (Debian: slurm-wlm, munge)"
    if os.geteuid() != 0:
        return "a Slurm is started by root"
    conf = SETTINGS / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(MARK):
        return f"{conf} is that of another Slurm"
    return None


@contextmanager
def slurm(folder: Path, cpus: int = 6, memory: int = 200_000) -> Iterator[None]:
    """Run the daemons in a folder until the block ends; jobs that are left end with them."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        # Slurm takes devices only: these swallow what is written, as /dev/null does.
        os.mknod(folder / f"gpu{number}", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    SETTINGS.mkdir(exist_ok=True)
    host = socket.gethostname().split(".")[0]
    conf = CONF.format(folder=folder, host=host, ports=_free_ports(2), cpus=cpus, memory=memory)
    (SETTINGS / "slurm.conf").write_text(MARK + conf)
    (SETTINGS / "gres.conf").write_text(f"{MARK}Name=gpu File={folder}/gpu[0-3]\n")
    munge = [f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket", "--num-threads=2"]
    munge += [f"--{what}-file={folder}/munge.{what}" for what in ("log", "pid", "seed")]
    with ExitStack() as stack:
        for name in ("slurm.conf", "gres.conf"):
            stack.callback((SETTINGS / name).unlink)
        stack.enter_context(_daemon("munged", "--foreground", "--force", *munge))
        _eventually(lambda: (folder / "munge.socket").exists())
        stack.enter_context(_daemon("slurmctld", "-D"))
        stack.enter_context(_daemon("slurmd", "-D", "-N", host))
        _eventually(lambda: run("sinfo", "-h", "-o", "%T").strip() == "idle")
        try:
            yield
        finally:
            run("scancel", "--full", "--signal=KILL", "--user=root")
            run("scancel", "--user=root")
            _eventually(lambda: not run("squeue", "-h"))


def run(*command: str) -> str:
    """Return what one of Slurm's commands prints; nothing where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


@contextmanager
def _daemon(name: str, *words: str) -> Iterator[None]:
    """Run a daemon in the foreground until the block ends."""
    program = shutil.which(name) or f"/usr/sbin/{name}"
    with subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the Slurm of the tests did not come up or go down")
        time.sleep(0.1)
