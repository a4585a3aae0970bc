"""The suite as a whole: the catalogue of what is registered in its rooms, and plans made with it. Torch-free."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from kdx2i.distill.by_task import DISTILLATIONS
from kdx2i.distill.transfers import TransferReadings, TransferSettings, read_transfers
from kdx2i.encoders.recipes import load_encoder_recipe
from kdx2i.features.recipes import load_feature_recipe
from kdx2i.methods.catalogue import architectures
from kdx2i.metrics.segmentation.settings import SegmenterSettings
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Catalogue, Plan
from kdx2i.plan.plan_base import OFFICIAL
from kdx2i.tasks.facts import TASKS
from kdx2i.teacher.recipes import load_recipe


def transfers(readings: TransferReadings) -> dict[str, TransferSettings]:
    """Return the transfers by name: those of the paper, and `official`, which takes a published checkpoint over."""
    return {**read_transfers(readings), OFFICIAL: TransferSettings("Official weights", distils=False)}


@cache
def catalogue() -> Catalogue:
    """Return what the suite has: tasks, architectures, transfers, settings, teachers, feature networks, encoders."""
    return Catalogue(
        TASKS,
        architectures(),
        TransferReadings,
        transfers,
        {name: stage1.modules for name, stage1 in DISTILLATIONS.items()},
        EvaluationSettings,
        SegmenterSettings,
        load_recipe,
        load_feature_recipe,
        load_encoder_recipe,
    )


def make_plan(root: Path, preset: str, seeds: Sequence[int] | None = None) -> Plan:
    """Return the plan of a preset (a name or the path of a YAML file) of the repository at `root`.

    `seeds` replaces the preset's. `UserError` for an unknown preset and for what its files say wrongly.
    """
    return Plan(root, preset, seeds, catalogue())
