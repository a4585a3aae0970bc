"""What trainings compute and keep: stage 2 of every architecture, and stage 1 of every student."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdx2i.costs import made_up
from kdx2i.costs.counting import META, Counter, Kept, count_steps, counting, keep
from kdx2i.methods.build import build_method
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.settings import FIRST_PHASES
from kdx2i.plan.specs import DistillSpec, RunSpec
from kdx2i.stages.students import open_distillation

PERIOD = 5
"""Iterations over which the mean is taken where not every one updates the generator."""
SHORT = 0.01
"""Phases below this share of a training are taken as its last one."""
ASKED = 16
"""Images that are asked for at a time."""


@dataclass(frozen=True)
class TrainingCounts:
    """FLOP of an iteration, bytes alive at most, what is kept, and the FLOP of an image by guidance (of a run)."""

    flop: float
    peak: int
    kept: Kept
    images: Mapping[str, float]


def count_run(spec: RunSpec, classes: int, labels: tuple[str, ...]) -> TrainingCounts:
    """Return the counts of a run on `classes` classes of images; `labels` are those of its label maps."""
    data = made_up.training_data(spec.task, spec.resolution, classes, labels)
    with made_up.without_files(), counting() as counter:
        method = _method(spec, classes, data)
        kept = keep(counter, method)
        flop, peak = _phases(counter, method, spec)
        images = {}
        for guidance in architectures()[spec.architecture].modes:
            if guidance not in getattr(method, "guidances", (guidance,)):
                continue
            asked = made_up.condition(spec.task, guidance, ASKED, spec.resolution, data)
            if spec.task == "label-map" and guidance == "map":
                asked = replace(asked, reference_maps=None)
            counter.restart()
            method.generate(asked)
            images[guidance] = counter.flop / ASKED
    return TrainingCounts(flop, peak, kept, images)


def with_classes(known: TrainingCounts, spec: RunSpec, classes: int, labels: tuple[str, ...]) -> TrainingCounts:
    """Return the counts of the same training with another number of classes.

    An iteration hardly depends on it: what is kept is counted anew, and what is alive grows by that and its gradients.
    """
    data = made_up.training_data(spec.task, spec.resolution, classes, labels)
    with made_up.without_files(), counting() as counter:
        kept = keep(counter, _method(spec, classes, data))
    more = kept.held + kept.gradients - known.kept.held - known.kept.gradients
    return TrainingCounts(known.flop, known.peak + more, kept, known.images)


def count_distillation(spec: DistillSpec) -> TrainingCounts:
    """Return the counts of a student's stage 1."""
    with made_up.without_files(), counting() as counter:
        with META:
            distillation, budget = open_distillation(Path(), spec, META)
        kept = keep(counter, distillation)
        flop, peak = count_steps(counter, distillation, range(budget.iterations - 1, budget.iterations))
    return TrainingCounts(flop, peak, kept, {})


def _method(spec: RunSpec, classes: int, data: Any) -> Any:
    settings = {"networks": spec.networks, "train": spec.train}
    # Without a file's weights: on the meta device none are drawn either.
    with META:
        return build_method(spec.architecture, settings, spec.resolution, classes, META, data, Path("encoder"))


def _phases(counter: Counter, method: Any, spec: RunSpec) -> tuple[float, int]:
    """Return the mean FLOP of an iteration over all phases of a run, and the most bytes of any."""
    train = spec.train
    iterations = int(str(train["iterations"]))
    ends, first = [], 0
    for phase in FIRST_PHASES:
        length = int(str(train.get(phase, 0)))
        first += length
        if length >= SHORT * iterations:
            ends.append((length, first))
    ends.append((iterations - sum(length for length, _ in ends), iterations))
    updates = architectures()[spec.architecture].generator_updates(train)
    total, peak = 0.0, 0
    for length, end in ends:
        steps = PERIOD if end == iterations and updates != iterations - first else 1
        flop, most = count_steps(counter, method, range(max(0, end - steps), end))
        total, peak = total + flop * length, max(peak, most)
    return total / iterations, peak
