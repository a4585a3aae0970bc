"""What the two training stages share: the loop's settings, publishing the outputs."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kdx2i.files import write_bytes
from kdx2i.methods.settings import LoopBudget
from kdx2i.plan import Leaf, Plan
from kdx2i.training.checkpoint import prefixed, save_tensors
from kdx2i.training.loop import LoopSettings


def loop_settings(plan: Plan, iterations: int, seed: int, *, sample_every: int, log_every: int) -> LoopSettings:
    """Return the loop's settings of a training, with checkpoints as often as the preset asks for."""
    saved = plan.preset.checkpoints
    return LoopSettings(iterations, seed, saved.steps, sample_every, log_every, checkpoint_minutes=saved.minutes)


def budget_settings(plan: Plan, budget: LoopBudget, seed: int) -> LoopSettings:
    """Return the loop's settings of a stage's budget."""
    every = {"sample_every": budget.sample_every, "log_every": budget.log_every}
    return loop_settings(plan, budget.iterations, seed, **every)


def network_tensors(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the tensors of several networks, named `<network>.<parameter>`."""
    return {k: v for name, module in networks.items() for k, v in prefixed(name, module.state_dict()).items()}


def publish(leaf: Leaf[Any], weights: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write the weights, log and samples of a finished training to their place."""
    save_tensors(leaf.file(weights), tensors, {"identity": leaf.identity, **metadata})
    publish_records(leaf)


def publish_records(leaf: Leaf[Any]) -> None:
    """Copy the log and the samples of a finished training from its work folder to their place."""
    for name in ("log.jsonl", "samples.png"):
        write_bytes(leaf.file(name), (leaf.work / name).read_bytes())


def discard(work: Path) -> None:
    """Remove a work folder whose result has been published."""
    shutil.rmtree(work, ignore_errors=True)
