"""Which GPUs a job takes: disjoint ones for the jobs of one machine, and a process of torchrun for each of several."""

import fcntl
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedWriter
from pathlib import Path
from typing import NoReturn

from rich.console import Console

VISIBLE = "CUDA_VISIBLE_DEVICES"
PARALLEL_STAGES = ("teacher", "distill", "train")
"""The stages that share a batch among processes; the others take one GPU, whatever a preset gives."""
LOOK_EVERY = 1.0
"""Seconds between two looks at whether GPUs have become free."""


def visible() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; without it all of the machine.

    PyTorch is not asked: it would take its time, and remember the answer. Under WSL, which shows no devices, one is
    assumed.
    """
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name for name in (part.strip() for part in named.split(",")) if name and name != "-1"]
    found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*"))
    indices = sorted(int(match[1]) for match in found if match)
    return [str(index) for index in indices] or (["0"] if Path("/dev/dxg").exists() else [])


def under_torchrun() -> bool:
    """Tell whether this is a process of torchrun, for which the first one has chosen the GPUs."""
    return "RANK" in os.environ


@contextmanager
def taken(count: int) -> Iterator[None]:
    """Hold `count` of the visible GPUs, waiting until so many are free, and let CUDA see only these.

    A GPU is held by a lock of the operating system, which ends with the process, also of one that this one becomes.
    Where fewer are visible than asked for nothing is held: the job says that itself.
    """
    devices = visible()
    if count == 0 or len(devices) < count or under_torchrun():
        yield
        return
    folder = _folder()
    before = os.environ.get(VISIBLE)
    with ExitStack() as stack:
        said = False
        while len(mine := _free(folder, devices, count)) < count:
            if not said:
                text = f"waiting for {count} of the GPUs {', '.join(devices)}: other jobs have them"
                Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)
                said = True
            time.sleep(LOOK_EVERY)
        for handle in mine.values():
            stack.callback(handle.close)
        os.environ[VISIBLE] = ",".join(mine)
        try:
            yield
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def become_torchrun(words: Sequence[str], count: int) -> NoReturn:
    """Turn this process into torchrun with `count` processes of the command line `words`, which keeps its GPUs."""
    environment = {**os.environ, "KDX2I_WARM": "off"}  # A fork of a warm start would be no child of torchrun.
    launcher = ["-m", "kdx2i.launcher", "--standalone", "--nproc-per-node", str(count), "-m", "kdx2i"]
    os.execve(sys.executable, [sys.executable, *launcher, *words], environment)


def _folder() -> Path:
    """Return the folder of the locks, this user's alone."""
    folder = Path(tempfile.gettempdir()) / f"kdx2i-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        # Of somebody else, who could hold every lock: one of this process alone, which no other job looks at.
        return Path(tempfile.mkdtemp(prefix="kdx2i-gpus-"))
    return folder


def _free(folder: Path, devices: Sequence[str], count: int) -> dict[str, BufferedWriter]:
    """Return `count` devices with the files whose locks hold them; all that are free, unlocked, where these are fewer.

    Nobody waits with some in hand: two jobs that did could wait for each other.
    """
    held: dict[str, BufferedWriter] = {}
    # Slurm gives each of its jobs other GPUs, and may call those of every job 0, 1, ...
    allocation = f" of {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    for device in devices:
        handle = (folder / hashlib.sha256(f"{device}{allocation}".encode()).hexdigest()[:16]).open("ab")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            continue
        os.set_inheritable(handle.fileno(), True)  # torchrun, which this process may become, goes on holding it.
        held[device] = handle
        if len(held) == count:
            return held
    for handle in held.values():
        handle.close()
    return held
