"""Run time and memory that jobs ask a cluster for, from a preset's costs. Torch-free."""

import math
from collections.abc import Mapping
from typing import Any

from kdx2i.costs.sheet import Cost, settings_of
from kdx2i.plan import Leaf

SLOWER = 8
"""How many times an H100's hours a job may take: a V100 takes about seven of them for StarGAN v2."""
MINUTES, LONGEST = 240, 10_080
"""What any job may take, and none is given more: a training that is stopped by its limit goes on where it was."""
MEGABYTES = 8000
"""What any job is given: assumed for PyTorch, CUDA's libraries and what a job holds in the host's memory."""
DATA = 3000
"""What a training holds of pixels (2 GiB; more are mapped from files) and of conditions (1 GiB)."""
UNCOUNTED: Mapping[str, tuple[int, int]] = {
    "teacher": (10_080, 32_000),
    "distilled": (2880, 32_000),
    "student": (2880, 32_000),
    "run": (5760, 32_000),
    "evaluation": (MINUTES, 48_000),
    "controls": (MINUTES, 48_000),
}
"""Minutes and MB of a job whose costs were not counted, by kind; the memory of scoring is not counted for any."""


def limits(leaf: Leaf[Any], costs: Mapping[str, Cost], seed: int) -> tuple[int, int]:
    """Return the minutes and the MB of memory that a job asks for; `costs` are by job of `seed`, the first one.

    Costs that were counted for other settings do not count.
    """
    minutes, megabytes = UNCOUNTED.get(leaf.kind.name, (MINUTES, MEGABYTES))
    own = leaf.address.get("seed")
    name = leaf.name if own is None else leaf.name.replace(f"/s{own}", f"/s{seed}")
    cost = costs.get(name)
    if cost is None or cost.settings != settings_of(leaf) or not cost.hours:
        return minutes, megabytes
    minutes = min(LONGEST, max(MINUTES, math.ceil(60 * SLOWER * cost.hours)))
    if (
        cost.checkpoint
    ):  # Its tensors are copied into the host's memory before they are written: measured, 1.0 of its size.
        megabytes = MEGABYTES + DATA + math.ceil(1.25 * cost.checkpoint / 1e6)
    return minutes, megabytes
