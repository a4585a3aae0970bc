"""Runs trainings on two ranks over gloo: `python rank_worker.py FOLDER PORT` writes what each rank saw.

One process imports everything and forks into the ranks, each with torchrun's environment.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import tiny
import torch

from kdx2i.errors import UserError
from kdx2i.training import distributed, loop, sampling, stopping
from kdx2i.training.determinism import seed_step
from kdx2i.training.distributed import shard
from kdx2i.training.loop import LoopSettings, train

SIZE, BATCH = 2, 4
TRANSFERS = ("kd", "kd-l1", "kd-adv", "kd-no-mixing")


def gradients(trainable: Any) -> dict[str, Any]:
    """Return the gradients of every half-step of one iteration, per optimiser."""
    recorders = tiny.record(trainable)
    seed_step(0, 5)
    trainable.training_step(5)
    return {name: recorder.steps for name, recorder in recorders.items()}


def all_gradients() -> dict[str, Any]:
    """Return the gradients of the method and of every transfer's distillation, batch 4.

    Those of the method are in float64: its instance norms of 4x4 features amplify float32's rounding to 1e-6.
    """
    single = sampling.to_images
    torch.set_default_dtype(torch.float64)
    sampling.to_images = lambda pixels, device: single(pixels, device).double()
    try:
        results = {"method": gradients(tiny.method(batch=BATCH))}
    finally:
        torch.set_default_dtype(torch.float32)
        sampling.to_images = single
    for transfer in TRANSFERS:
        results[transfer] = gradients(tiny.distillation(transfer, batch=BATCH))
    return results


def trainings(folder: Path) -> dict[str, Any]:
    """Train a method and a distillation in a shared folder, resuming once; return networks and averages."""
    results = {}
    for kind, build in (("method", tiny.method), ("distillation", tiny.distillation)):
        for iterations in (1, 3):
            trainable = build(batch=BATCH)
            train(trainable, LoopSettings(iterations, 1, sample_every=1), folder / kind, kind)
        results[kind] = tiny.state_of(trainable.networks) | tiny.state_of({"average": trainable.averages["generator"]})
        results[f"{kind} preview"] = trainable.preview()[0]
    return results


def uneven() -> str:
    """Return what a batch that cannot be shared says."""
    try:
        shard(torch.zeros(3, 1))
    except UserError as error:
        return str(error)
    return ""


def refuse(*_: object) -> None:
    """Stand for a function that writes, on a rank that must not."""
    raise AssertionError("only the first rank may write")


def apart(folder: Path) -> str:
    """Return what the processes say when only the first has a checkpoint."""
    trainable, work = tiny.distillation(), folder / str(distributed.rank())
    if distributed.rank() == 0:
        path, averages = work / "checkpoint.safetensors", trainable.averages.items()
        modules = {**trainable.networks, **{f"{name}_average": module for name, module in averages}}
        loop.save_checkpoint(path, modules, trainable.optimizers, {"step": 1, "scalars": {}})
    try:
        train(trainable, LoopSettings(2, 1), work, "apart")
    except UserError as error:
        return str(error)
    return ""


def asked_in_turn(folder: Path) -> str:
    """Return how the processes end when only the second is asked to stop, in the second step; they leave the group."""
    trainable = tiny.method(batch=BATCH)
    proper = trainable.training_step

    def step(number: int) -> dict[str, torch.Tensor]:
        if number == 1 and distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return proper(number)

    trainable.training_step = step
    try:
        with stopping.heeded():
            train(trainable, LoopSettings(4, 1), folder, "asked")
    except stopping.Stopped as stop:
        return str(stop)
    return ""


def rank(index: int, folder: Path, port: str) -> None:
    """Join the group, run everything, write `rank<index>.pt`."""
    os.environ |= {
        "RANK": str(index),
        "LOCAL_RANK": str(index),
        "WORLD_SIZE": str(SIZE),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    signal.alarm(100)  # Ranks that wait for each other in vain end, too.
    distributed.start()
    if index:
        loop.save_checkpoint, loop.save_grid, loop.write_text = refuse, refuse, refuse
    results = {
        "rank": (distributed.rank(), distributed.world_size()),
        "share": shard(torch.arange(6)).tolist(),
        "uneven": uneven(),
        "gradients": all_gradients(),
        "trainings": trainings(folder),
        "apart": apart(folder / "apart"),
        "asked": asked_in_turn(folder / "asked"),
    }
    torch.save(results, folder / f"rank{index}.pt")
    distributed.finish()


def main(folder: Path, port: str) -> int:
    """Fork into the ranks and wait for them; return 0 if all went well."""
    torch.set_num_threads(1)
    children = []
    for index in range(SIZE):
        child = os.fork()
        if not child:
            status = 1
            try:
                rank(index, folder, port)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
