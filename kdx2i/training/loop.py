"""The training loop that drives every stage of training: teachers, distillation and methods.

A `Trainable` owns the idea (networks, losses, one step); the loop owns everything else. A run killed at any
moment resumes from its last checkpoint and ends in the same bytes.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.utils import make_grid

from kdx2i.errors import UserError
from kdx2i.files import replacing, write_text
from kdx2i.training import distributed
from kdx2i.training.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from kdx2i.training.determinism import seed_step
from kdx2i.training.fingerprint import Fingerprint, work_of
from kdx2i.training.precision import to_pixels


class Trainable(Protocol):
    """What the loop drives.

    `networks` are trained, `averages` holds an exponential moving average for some of them (same name),
    `optimizers` their optimisers. Random numbers come from torch's global generators, which the loop seeds
    before every step.
    """

    networks: Mapping[str, nn.Module]
    averages: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]

    def training_step(self, step: int) -> dict[str, Tensor]:
        """Draw the batch of a step, update the networks, return named scalars."""

    def ema_decay(self, step: int) -> float:
        """Return the decay of the averages after this step."""

    def preview(self) -> tuple[Tensor, int]:
        """Return images [N, 3, H, W] in [-1, 1] for the sample grid, and how many make a row."""

    def scalars(self) -> dict[str, float]:
        """Return the float state beside tensors that a checkpoint must keep."""

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Take back what `scalars` returned."""


@dataclass(frozen=True)
class LoopSettings:
    """How long to train, from which seed, and how often to save (`*_every` in iterations)."""

    iterations: int
    seed: int
    checkpoint_every: int = 200
    sample_every: int = 1000
    log_every: int = 10


@torch.no_grad()
def update_averages(trainable: Trainable, decay: float) -> None:
    """Move every average towards its network: parameters by `decay`, buffers copied."""
    for name, average in trainable.averages.items():
        network = trainable.networks[name]
        targets: list[Tensor] = list(average.parameters())
        sources: list[Tensor] = list(network.parameters())
        if targets:  # A network may be buffers alone.
            torch._foreach_lerp_(targets, sources, 1.0 - decay)
        for target, source in zip(average.buffers(), network.buffers(), strict=True):
            target.copy_(source)


def save_grid(path: Path, images: Tensor, per_row: int) -> None:
    """Write images [N, 3, H, W] in [-1, 1], at least two, as one PNG grid with white lines, atomically."""
    picture = make_grid(to_pixels(images), nrow=per_row, pad_value=255).permute(1, 2, 0)
    with replacing(path) as temporary:
        Image.fromarray(picture.numpy()).save(temporary, format="PNG")


def _modules(trainable: Trainable) -> dict[str, nn.Module]:
    averages = {f"{name}_average": module for name, module in trainable.averages.items()}
    return {**trainable.networks, **averages}


class _Log:
    """log.jsonl: one line a logged step; lines at or after the resumed step are dropped."""

    def __init__(self, path: Path, start: int) -> None:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        # A killed write may leave a partial last line, which is dropped with the lines after the checkpoint.
        kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] < start]
        write_text(path, "".join(kept))
        self.path = path

    def write(self, step: int, scalars: Mapping[str, Tensor]) -> dict[str, float]:
        values = {name: float(value.detach()) for name, value in scalars.items()}
        broken = [name for name, value in values.items() if not math.isfinite(value)]
        if broken:
            raise UserError(
                f"training diverged: {', '.join(broken)} is not finite at step {step}; "
                f"lower the learning rate or start from another seed (log: {self.path})"
            )
        with self.path.open("a") as handle:
            handle.write(json.dumps({"step": step, **{k: float(f"{v:.6g}") for k, v in values.items()}}) + "\n")
        return values


def train(trainable: Trainable, settings: LoopSettings, work: Path, title: str) -> None:
    """Run `settings.iterations` steps, resuming from `work`, which keeps checkpoint, log, sample grids and fingerprint.

    Only rank 0 writes. A damaged checkpoint is said, and the training starts again. Raises `UserError` when a logged
    loss is not finite or the checkpoint does not fit.
    """
    work = work_of(work)
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / "checkpoint.safetensors"
    start = _resume(trainable, checkpoint, settings.iterations) if checkpoint.exists() else 0
    writes = distributed.rank() == 0
    if not distributed.agree(start):
        raise UserError(f"the processes see different checkpoints in {work}: they must share one folder")
    if writes:
        # What a killed process was writing; safetensors writes its own.
        for left in (*work.glob(".*.part"), *work.glob(".tmp*")):
            left.unlink()
    log = _Log(work / "log.jsonl", start) if writes else None
    fingerprint = Fingerprint(work, start, settings.iterations, writes=writes)

    def save(step: int) -> None:
        meta: dict[str, Any] = {"step": step, "scalars": trainable.scalars()}
        save_checkpoint(checkpoint, _modules(trainable), trainable.optimizers, meta)

    with _progress(title, start, settings.iterations) as progress:
        task = progress.task_ids[0]
        for step in range(start, settings.iterations):
            seed_step(settings.seed, step)
            scalars = trainable.training_step(step)
            update_averages(trainable, trainable.ema_decay(step))
            done = step + 1
            fingerprint.take(done, _modules(trainable), scalars)
            progress.update(task, completed=done)
            if log is None:
                continue
            if step % settings.log_every == 0 or done == settings.iterations:
                values = log.write(step, scalars)
                progress.update(task, losses=" ".join(f"{k} {v:.3g}" for k, v in list(values.items())[:4]))
            if done % settings.sample_every == 0:
                save_grid(work / "samples.png", *trainable.preview())
            if done % settings.checkpoint_every == 0 and done < settings.iterations:
                save(done)
        if log is not None and start < settings.iterations:
            save(settings.iterations)
    if writes:
        save_grid(work / "samples.png", *trainable.preview())
    distributed.barrier()


def _resume(trainable: Trainable, checkpoint: Path, iterations: int) -> int:
    """Restore a checkpoint and return the number of steps done: none of a damaged one, which is said.

    One that does not fit raises `UserError`.
    """
    try:
        metadata = load_checkpoint(checkpoint, _modules(trainable), trainable.optimizers)
    except DamagedCheckpoint as error:
        if distributed.rank() == 0:
            console = Console(stderr=True)
            console.print(f"{error}; the training starts again", highlight=False, markup=False, soft_wrap=True)
        return 0
    try:
        trainable.restore_scalars(metadata["scalars"])
        start = int(metadata["step"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{checkpoint} lacks the state of a training: delete it to start again") from None
    if start > iterations:
        raise UserError(f"{checkpoint} is at step {start}, beyond the {iterations} asked for: delete it to start again")
    return start


def _progress(title: str, start: int, total: int) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    progress = Progress(*columns, console=Console(stderr=True), disable=distributed.rank() != 0, refresh_per_second=2)
    progress.add_task(title, total=total, completed=start, losses="")
    return progress
