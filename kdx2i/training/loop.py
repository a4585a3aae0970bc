"""The training loop that drives every stage of training: teachers, distillation and methods.

A `Trainable` owns the idea (networks, losses, one step); the loop owns everything else. A run that is stopped or killed
at any moment resumes from its last checkpoint and ends in the same bytes.
"""

import json
import math
import time
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
from kdx2i.training import distributed, stopping
from kdx2i.training.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from kdx2i.training.determinism import seed_step
from kdx2i.training.fingerprint import Fingerprint, work_of
from kdx2i.training.precision import to_pixels

NEWEST, BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"
"""The files of a work folder that hold the last two checkpoints."""


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
    """How long to train, from which seed, and how often to save (`*_every` in iterations).

    A checkpoint is written after `checkpoint_every` iterations (None: these do not count) or `checkpoint_minutes`
    since the one before, whichever comes first, and at the end.
    """

    iterations: int
    seed: int
    checkpoint_every: int | None = None
    sample_every: int = 1000
    log_every: int = 10
    checkpoint_minutes: float = 15.0


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


class _Checkpoints:
    """The last two checkpoints of a training, which only rank 0 writes, and when the next is due."""

    def __init__(self, trainable: Trainable, settings: LoopSettings, work: Path) -> None:
        self.trainable, self.settings = trainable, settings
        self.newest, self.before = work / NEWEST, work / BEFORE
        self._next = work / "checkpoint-next.safetensors"
        self._saved = time.monotonic()

    def resume(self) -> int:
        """Restore the newest checkpoint that is whole and return the number of steps done: 0 where there is none.

        One that is damaged is said and removed. One that does not fit raises `UserError`.
        """
        start, damaged = 0, []
        for path in (self.newest, self.before):
            if not path.exists():
                continue
            try:
                start = _restore(self.trainable, path, self.settings.iterations)
                break
            except DamagedCheckpoint as error:
                damaged.append(path)
                older = path == self.newest and self.before.exists()
                _say(f"{error}; the training {'goes on from the checkpoint before' if older else 'starts again'}")
        if not distributed.agree(start):
            folder = self.newest.parent
            raise UserError(f"the processes see different checkpoints in {folder}: they must share one folder")
        if distributed.rank() == 0:
            for path in (*damaged, self._next):  # All processes have looked at them.
                path.unlink(missing_ok=True)
        self._saved = time.monotonic()
        return start

    def is_due(self, done: int) -> bool:
        """Tell whether a checkpoint is to be written after `done` steps."""
        every = self.settings.checkpoint_every
        minutes = (time.monotonic() - self._saved) / 60
        return (every is not None and done % every == 0) or minutes >= self.settings.checkpoint_minutes

    def save(self, done: int) -> None:
        """Write the state after `done` steps; what was the newest becomes the one before."""
        meta: dict[str, Any] = {"step": done, "scalars": self.trainable.scalars()}
        save_checkpoint(self._next, _modules(self.trainable), self.trainable.optimizers, meta)
        if self.newest.exists():
            self.newest.replace(self.before)
        self._next.replace(self.newest)
        self._saved = time.monotonic()


def train(trainable: Trainable, settings: LoopSettings, work: Path, title: str) -> None:
    """Run `settings.iterations` steps, resuming from `work`, which keeps checkpoints, log, grids, fingerprint.

    Only rank 0 writes. A damaged checkpoint is said, and the training goes on from the one before. Raises `UserError`
    when a logged loss is not finite or the checkpoint does not fit, and `Stopped`, with a checkpoint, where the process
    has been asked to stop.
    """
    work = work_of(work)
    work.mkdir(parents=True, exist_ok=True)
    checkpoints = _Checkpoints(trainable, settings, work)
    start = checkpoints.resume()
    writes = distributed.rank() == 0
    if writes:
        # What a killed process was writing; safetensors writes its own.
        for left in (*work.glob(".*.part"), *work.glob(".tmp*")):
            left.unlink()
    log = _Log(work / "log.jsonl", start) if writes else None
    fingerprint = Fingerprint(work, start, settings.iterations, writes=writes)
    with stopping.after_the_step(), _progress(title, start, settings.iterations) as progress:
        task = progress.task_ids[0]
        for step in range(start, settings.iterations):
            seed_step(settings.seed, step)
            scalars = trainable.training_step(step)
            update_averages(trainable, trainable.ema_decay(step))
            done = step + 1
            fingerprint.take(done, _modules(trainable), scalars)
            progress.update(task, completed=done)
            if log is not None:
                if step % settings.log_every == 0 or done == settings.iterations:
                    values = log.write(step, scalars)
                    progress.update(task, losses=" ".join(f"{k} {v:.3g}" for k, v in list(values.items())[:4]))
                if done % settings.sample_every == 0:
                    save_grid(work / "samples.png", *trainable.preview())
            stops = distributed.any_of(stopping.asked())
            if writes and (stops or done == settings.iterations or checkpoints.is_due(done)):
                checkpoints.save(done)
            if stops:
                distributed.barrier()  # torchrun ends all processes when one has ended: not while this one writes.
                distributed.finish()
                raise stopping.Stopped(f"after step {done} of {settings.iterations}, with a checkpoint")
    if writes:
        save_grid(work / "samples.png", *trainable.preview())
    distributed.barrier()


def _restore(trainable: Trainable, checkpoint: Path, iterations: int) -> int:
    """Restore a checkpoint and return the number of steps done.

    One that does not fit raises `UserError`, a damaged one `DamagedCheckpoint`.
    """
    metadata = load_checkpoint(checkpoint, _modules(trainable), trainable.optimizers)
    try:
        trainable.restore_scalars(metadata["scalars"])
        start = int(metadata["step"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{checkpoint} lacks the state of a training: delete it to start again") from None
    if start > iterations:
        raise UserError(f"{checkpoint} is at step {start}, beyond the {iterations} asked for: delete it to start again")
    return start


def _say(sentence: str) -> None:
    """Print a sentence on standard error, by the first process alone."""
    if distributed.rank() == 0:
        Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)


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
