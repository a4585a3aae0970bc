"""What a job's start costs: in a process of its own, and forked from a server that has the libraries loaded.

    python benchmarks/speed/start_up.py --repeats 5 --json start_up.json

Each figure is the median of processes that were run in turns: processor seconds, and resident memory in MiB. The job
does what every training does at its start: it imports its stage, takes one step of Adam, writes a checkpoint and a
grid of samples; in a fork it collects its garbage once. What a job in a fork does not share with the server is its
`job MiB`.
"""

import argparse
import contextlib
import gc
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from common import middle, report, use_threads

COMPILER = "torchvision.utils"
"""The library of the server's list that brings PyTorch's compiler."""


def main() -> None:
    """Run every kind of process in turns, each in a fresh interpreter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--measure", choices=PROCESSES, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_threads(1)
    if arguments.measure is not None:
        print(json.dumps(PROCESSES[arguments.measure]()))
        return
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in PROCESSES}
    for _ in range(arguments.repeats):
        for name, processes in measured.items():
            command = [sys.executable, __file__, "--measure", name]
            processes.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    rows: list[dict[str, Any]] = [
        {"process": name, **{column: middle([process[column] for process in processes]) for column in processes[0]}}
        for name, processes in measured.items()
    ]
    report("Start of a job, processor seconds and resident memory", rows, arguments.json)


def alone(*libraries: str) -> dict[str, float]:
    """Import libraries; return this process's seconds and memory."""
    for name in libraries:
        importlib.import_module(name)
    return {"seconds": time.process_time(), "MiB": memory("Rss")}


def training() -> dict[str, float]:
    """Start a training in this process."""
    start_training()
    return alone()


def scoring() -> dict[str, float]:
    """Start what `kdx2i score` does with RC and FC, whose linear probe has PyTorch's L-BFGS."""
    import torch

    from kdx2i.metrics.classifiers.probe import train_probe

    importlib.import_module("kdx2i.stages.folders")
    train_probe(torch.randn(6, 8), torch.arange(6) % 2, 2, 0.01, 5)
    return alone()


def mistyped() -> dict[str, float]:
    """Start `kdx2i score` on a folder that is not there."""
    from kdx2i.cli import main as kdx2i

    with contextlib.redirect_stderr(io.StringIO()):
        kdx2i(["score", "--generated", "/nowhere", "--reference", "/nowhere"])
    return alone()


def fifty_images() -> dict[str, float]:
    """Score 50 images of 64 px against 50 others with the packaged network at 64 px."""
    from PIL import Image

    from kdx2i.cli import main as kdx2i

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for number in range(100):
            place = Path(folder) / str(number % 2) / f"{number:03d}.png"
            place.parent.mkdir(exist_ok=True)
            Image.effect_noise((64, 64), 1.0 + number).convert("RGB").save(place)
        sides = ["--generated", f"{folder}/0", "--reference", f"{folder}/1"]
        kdx2i(["score", *sides, "--extractor", "efficientnet-lite0", "--input-size", "64", "--device", "cpu"])
    return alone()


def server(leave_out: str | None = None, *, frozen: bool = True) -> dict[str, float]:
    """Load the server's libraries, start a training in a fork, and return the seconds and memory of both.

    Not `frozen`, the libraries' objects take part in the job's garbage collections.
    """
    from kdx2i.warm import LATER, LIBRARIES

    figures = alone(*(name for name in LIBRARIES + LATER if name != leave_out))
    if frozen:
        gc.freeze()
    reading, writing = os.pipe()
    start = time.process_time()
    process = os.fork()
    if process == 0:
        start_training()
        gc.collect()
        os.write(writing, json.dumps(memory("Private_Clean") + memory("Private_Dirty")).encode())
        os._exit(0)
    forking = time.process_time() - start
    used = os.wait4(process, 0)[2]
    return figures | {
        "fork seconds": forking,
        "job seconds": used.ru_utime + used.ru_stime,
        "job MiB": float(os.read(reading, 100)),
    }


def start_training() -> None:
    """Import the stage of training, take one step of Adam, write a checkpoint and a grid of samples."""
    import torch

    from kdx2i.training.checkpoint import save_checkpoint
    from kdx2i.training.loop import save_grid
    from kdx2i.training.optimizers import adam, step_optimizers

    importlib.import_module("kdx2i.stages.train")
    network = torch.nn.Linear(8, 8)
    optimizer = adam(network.parameters(), 0.1, (0.0, 0.99))
    step_optimizers(network(torch.ones(4, 8)).square().mean(), optimizer)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "checkpoint.safetensors", {"net": network}, {"net": optimizer}, {})
        save_grid(Path(folder) / "samples.png", torch.zeros(4, 3, 8, 8), 2)


def memory(kind: str) -> float:
    """Return the resident memory of this process in MiB: all of it (Rss) or a share as /proc/self/smaps names it."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


PROCESSES: dict[str, Callable[[], dict[str, float]]] = {
    "server": server,
    "server with its garbage collector as usual": lambda: server(frozen=False),
    "server without PyTorch's compiler": lambda: server(COMPILER),
    "torch": lambda: alone("torch"),
    "torch and its compiler": lambda: alone("torch", COMPILER),
    "cold training": training,
    "cold scoring of folders": scoring,
    "kdx2i score, mistyped path": mistyped,
    "kdx2i score, 2 x 50 images": fifty_images,
}


if __name__ == "__main__":
    main()
