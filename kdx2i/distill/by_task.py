"""Which stage 1 each task has, by the name that `kdx2i.tasks.facts` gives it. Torch-free until one is loaded.

Each is loaded by name, so that a student's identity holds the code of its own stage 1 and not that of the other.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage1:
    """One stage 1: `module:name` of the `Trainable` that distils, and of the function that measures it."""

    distillation: str
    measure: str

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules whose code makes a student and its measures."""
        return tuple(place.partition(":")[0] for place in (self.distillation, self.measure))


DISTILLATIONS: Mapping[str, Stage1] = {
    "i2i": Stage1("kdx2i.distill.i2i:I2IDistillation", "kdx2i.distill.measures:measure"),
    "x2i": Stage1("kdx2i.distill.x2i:X2IDistillation", "kdx2i.distill.x2i_measures:measure"),
}


def load_distillation(name: str) -> Any:
    """Return the class that distils: from student, teacher, settings, transfer and device to a `Trainable`."""
    return _load(DISTILLATIONS[name].distillation)


def load_measure(name: str) -> Any:
    """Return the function that measures such a distillation on held-out images, given a seed."""
    return _load(DISTILLATIONS[name].measure)


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
