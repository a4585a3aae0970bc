"""Trains while being killed, and reports what survives: `python kill_worker.py FOLDER` prints JSON.

Runs as a process of its own, so that forks share its imports: a fork trains, this process kills it (SIGKILL)
at seeded moments and looks at what is left, until a fork ends by itself.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny
import torch

from kdx2i.training import checkpoint as checkpoint_module
from kdx2i.training.checkpoint import load_tensors
from kdx2i.training.loop import BEFORE, NEWEST

ITERATIONS, KILLS = 8, 3


def in_fork(work: Callable[[], object]) -> int:
    """Start a fork that runs `work` and exits; return its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - a fork must not go on with its parent's work
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child: int) -> int:
    """Wait for a fork and return its exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lines(work: Path) -> int:
    """Return the number of logged steps so far."""
    log = work / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def survivor(work: Path) -> int | None:
    """Load the checkpoints, which must be whole whenever the kill came; return the last step, None without one."""
    paths = [work / name for name in (NEWEST, BEFORE) if (work / name).exists()]
    return max((int(load_tensors(path)[1]["step"]) for path in paths), default=None)


def killed_at_random(kind: str, work: Path, seed: int) -> dict[str, Any]:
    """Kill a training at `KILLS` random moments, resuming it each time, and let it end."""
    moments = random.Random(seed)
    survived = []
    for _ in range(KILLS):
        child = in_fork(lambda: tiny.run(kind, work, ITERATIONS, checkpoint_every=1))
        until = lines(work) + moments.randint(0, 2)
        ended = False
        while lines(work) < until and not ended:
            time.sleep(0.002)
            ended = os.waitpid(child, os.WNOHANG)[0] == child
        if not ended:
            time.sleep(moments.uniform(0.0, 0.06))
            os.kill(child, signal.SIGKILL)  # A fork that ended unwaited still has its process id.
            wait(child)
        survived.append(survivor(work))
    status = wait(in_fork(lambda: tiny.run(kind, work, ITERATIONS, checkpoint_every=1)))
    left = sorted(path.name for path in work.glob(".*"))
    return {"status": status, "survived": survived, "left": left, **tiny.outcome(work)}


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed_while(fault: str, work: Path) -> dict[str, Any]:
    """Kill a training at one exact moment of its second checkpoint or of its log, then let it end."""

    def sabotaged() -> None:
        proper_save, proper_replace, count = checkpoint_module.save_file, Path.replace, [0]

        def save_file(tensors: Any, filename: str, **rest: Any) -> None:
            proper_save(tensors, filename, **rest)
            count[0] += 1
            if fault == "half of the file is written" and count[0] == 2:
                os.truncate(filename, Path(filename).stat().st_size // 2)
                die()

        def replace(self: Path, target: Path) -> Path:
            dying = count[0] == 2 and target.name == "checkpoint.safetensors"
            if dying and fault == "the file is not renamed":
                die()
            result = proper_replace(self, target)
            if dying and fault == "the file is just renamed":
                die()
            return result

        checkpoint_module.save_file, Path.replace = save_file, replace
        if fault == "a log line is half written":
            trainable = tiny.BUILDERS["method"]
            tiny.BUILDERS["method"] = lambda: dying_in_log(trainable(), work)
        tiny.run("method", work, ITERATIONS, checkpoint_every=2)

    killed = wait(in_fork(sabotaged))
    survived = survivor(work)
    status = wait(in_fork(lambda: tiny.run("method", work, ITERATIONS, checkpoint_every=2)))
    return {"killed": killed, "status": status, "survived": survived, **tiny.outcome(work)}


def dying_in_log(trainable: Any, work: Path) -> Any:
    """Return a trainable that dies in its fourth step after writing a part of the step's log line."""
    proper = trainable.training_step

    def step(number: int) -> Any:
        scalars = proper(number)
        if number == 3:
            with (work / "log.jsonl").open("a") as handle:
                handle.write('{"step": 3, "d_lat')
            die()
        return scalars

    trainable.training_step = step
    return trainable


FAULTS = (
    "half of the file is written",
    "the file is not renamed",
    "the file is just renamed",
    "a log line is half written",
)


def main(folder: Path) -> None:
    """Print, for every kind, what an unharmed training leaves and what each harmed one does."""
    torch.set_num_threads(1)
    report: dict[str, Any] = {}
    for kind in tiny.BUILDERS:
        status = wait(in_fork(lambda kind=kind: tiny.run(kind, folder / kind, ITERATIONS)))
        report[kind] = {"whole": {"status": status, **tiny.outcome(folder / kind)}}
        harmed = folder / f"{kind}-harmed"
        report[kind]["harmed"] = killed_at_random(kind, harmed, seed=len(report))
    for fault in FAULTS:
        report["method"][fault] = killed_while(fault, folder / fault.replace(" ", "-"))
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
