"""Running the stage that makes a result, alone, with the threads and GPUs that the preset asks for."""

import importlib
import os
import signal
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console

from kdx2i.cli.locking import making
from kdx2i.devices import PARALLEL_STAGES, become_torchrun, taken, under_torchrun
from kdx2i.errors import UserError
from kdx2i.inspection.leftovers import check_work
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import RUN
from kdx2i.plan.plan_base import OFFICIAL
from kdx2i.training.stopping import heeded

_RESUMED = (*PARALLEL_STAGES, "encoder", "features")
"""The stages that `kdx2i.training.loop` drives: they go on from a checkpoint."""


def run_leaf(plan: Plan, leaf: Leaf[Any], stage: str = "") -> None:
    """Run the stage of a leaf, or another `stage` that reads the same, whose inputs must be there and current.

    Where another process has just made the same result, nothing is left to do. A training on several GPUs goes on as
    torchrun in this process's place.

    The number of threads decides how sums are split, hence the last digits: it belongs to the preset, not
    to the machine.
    """
    if leaf.kind is RUN and leaf.spec.transfer == OFFICIAL:
        stage = "official_run"
    parallel = leaf.kind.stage in PARALLEL_STAGES and not stage
    asked = plan.preset.resources.gpus if leaf.kind.work == "training" else 0
    gpus = asked if parallel else min(asked, 1)
    with _signals(leaf.kind.stage in _RESUMED and not stage), taken(gpus):
        if gpus > 1 and not under_torchrun():
            _require_gpus(plan, gpus)
            become_torchrun(plan.command(leaf)[1:], gpus)
        _run(plan, leaf, stage, gpus)


def _signals(resumed: bool) -> AbstractContextManager[None]:
    """Return what stops a training at a signal; what keeps no state until it is done is not stopped by a warning."""
    if resumed:
        return heeded()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return nullcontext()


def _run(plan: Plan, leaf: Leaf[Any], stage: str, gpus: int) -> None:
    from kdx2i.provenance import problem, require_as_shipped, require_current

    with making(leaf) as waited:
        if waited and not stage and problem(leaf) is None:
            Console(stderr=True).print(f"{leaf.name} is made", highlight=False, markup=False, soft_wrap=True)
            return
        require_current(leaf.inputs.values())
        require_as_shipped(leaf.root, leaf.files)
        os.environ["OMP_NUM_THREADS"] = str(plan.preset.resources.threads)
        if leaf.kind.work == "training":
            _require_gpus(plan, gpus)
            check_work(leaf.work)
        importlib.import_module(f"kdx2i.stages.{stage or leaf.kind.stage}").run(plan, leaf)


def _require_gpus(plan: Plan, gpus: int) -> None:
    """Refuse to run a GPU preset without its GPUs: on a CPU it would seem to hang for weeks."""
    if gpus == 0:
        return
    import torch

    seen = torch.cuda.device_count()
    if seen < gpus:
        raise UserError(
            f"preset {plan.preset.name} asks for {gpus} GPU(s) a job and PyTorch sees {seen}: "
            "run it on a machine with a GPU, or set `resources: {gpus: 0}` in the preset"
        )
