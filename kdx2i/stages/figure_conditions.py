"""Figures of text, speech and label maps: conditions beside outputs, and what stage 1 makes of pairs of a teacher."""

from typing import Any

import torch
from torch import Tensor

from kdx2i.data.rows import Split
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import FigureSpec
from kdx2i.stages.evaluate import load_method
from kdx2i.stages.student_files import student_tensors
from kdx2i.stages.students import open_distillation, put_into
from kdx2i.tasks.conditions import CaptionCondition, LabelMapCondition
from kdx2i.tasks.opening import open_task
from kdx2i.tasks.paired import PairedTask
from kdx2i.tasks.scoring.base import generate
from kdx2i.tasks.scoring.paired import PairedRequests, TaskScoring
from kdx2i.training.determinism import derive_seed
from kdx2i.training.precision import to_pixels

BATCH = 64
SIDES = ("c_x", "c_y")

ImageGrid = list[list[Tensor | None]]


def held_out_images(real: RealImages, count: int, generator: torch.Generator) -> Tensor:
    """Return test images int64 [M] of different classes, as far as there are so many (training images without any)."""
    pool = torch.nonzero(real.is_test).flatten() if bool(real.is_test.any()) else torch.arange(len(real.images))
    pool = pool[torch.randperm(len(pool), generator=generator)]
    first: dict[int, int] = {}
    for index in pool.tolist():
        first.setdefault(int(real.labels[index]), index)
    chosen = [*first.values(), *(i for i in pool.tolist() if i not in set(first.values()))]
    return torch.tensor(chosen[:count])


def open_student(plan: Plan, drawn: Leaf[Any], device: torch.device) -> tuple[Any, Any]:
    """Return the distillation of a student's leaf with the tensors of its file, and the averaged student."""
    distillation, _ = open_distillation(plan.root, drawn.spec, device)
    shipped = getattr(drawn.spec, "student_file", None)
    path = plan.root / shipped if shipped else drawn.file("student.safetensors")
    put_into(distillation, student_tensors(path), path)
    student = distillation.student.with_networks({**distillation.networks, **distillation.averages})
    return distillation, student


@torch.no_grad()
def draw_conditions(
    plan: Plan, leaf: Leaf[FigureSpec], device: torch.device
) -> tuple[list[str], list[str], ImageGrid, list[str]]:
    """Return columns, rows, the grid, and captions by row: what was given, the real image, and each method's image.

    The rows are test images of different classes; every method is given the same conditions and the same noise.
    """
    spec = leaf.spec
    figure, split = spec.figure, Split(leaf.inputs["split"].folder)
    columns: list[str] = []
    shown: list[Tensor] = []
    captions: list[str] = []
    for method in spec.methods:
        run = leaf.inputs[method.input]
        scoring: TaskScoring[Any] = TaskScoring(open_task(run.spec.task, split, method.resolution))
        asked = _requests(scoring, spec)
        if not shown:
            columns, shown = _given(asked)
            written = "captions" in plan.dataset(run.spec.dataset).conditions
            captions = _captions(asked, written=written)
        torch.manual_seed(derive_seed(figure.seed, "figure", figure.name))
        columns.append(method.label)
        shown.append(generate(load_method(run, len(scoring.task.classes), device), asked, BATCH, device))
    count = len(shown[0])
    return (
        columns,
        [str(i + 1) for i in range(count)],
        [[column[i] for column in shown] for i in range(count)],
        captions,
    )


def _requests(scoring: TaskScoring[Any], spec: FigureSpec) -> PairedRequests[Any]:
    """Return what the figure asks every method for."""
    generator = torch.Generator().manual_seed(spec.figure.seed)
    images = held_out_images(scoring.real, spec.figure.rows, generator)
    draws = torch.rand(len(images), generator=generator)
    references = None
    if spec.figure.guidance == "reference":
        training = torch.nonzero(~scoring.real.is_test).flatten()
        references = training[torch.randint(len(training), (len(images),), generator=generator)]
    return PairedRequests(scoring.task, scoring.real.labels[images], images, draws, references)


def _given(asked: PairedRequests[Any]) -> tuple[list[str], list[Tensor]]:
    """Return the columns before those of the methods, with their titles."""
    real, *maps = asked.pictures(torch.arange(len(asked.images)))
    columns, shown = ["label map"] * len(maps), [*maps]
    if asked.references is not None:
        columns.append("reference")
        shown.append(asked.task.images[asked.references])
    return [*columns, "real image"], [*shown, real]


def _captions(asked: PairedRequests[Any], *, written: bool) -> list[str]:
    """Return a line of text for each row: its caption, or what its utterance says; none where that is not known."""
    given = asked.condition(slice(None), torch.device("cpu"))
    if isinstance(given, LabelMapCondition) or not written:
        return []
    if isinstance(given, CaptionCondition):
        texts = list(given.captions)
    else:
        rows = zip(asked.images.tolist(), asked.draws.tolist(), strict=True)
        texts = [_said(asked.task, number, draw) for number, draw in rows]
    return [f"{number}: {text}" for number, text in enumerate(texts, start=1)]


def _said(task: PairedTask[Any], number: int, draw: float) -> str:
    """Return the caption that an image's utterance was read from: utterances are in the order of the captions."""
    captions = task.conditions.captions(task.rows[number])
    return captions[int(draw * len(captions))]


@torch.no_grad()
def draw_pairs(plan: Plan, leaf: Leaf[FigureSpec], device: torch.device) -> tuple[list[str], list[str], ImageGrid]:
    """Return a triplet for each student: the teacher's x1, and the student's images with the conditions c_x and c_y.

    Both images have the noise and the teacher's first feature in common, as in stage 1. Students of one teacher are
    shown the same pairs.
    """
    figure = leaf.spec.figure
    columns: list[str] = []
    shown: list[Tensor] = []
    for method in leaf.spec.methods:
        distillation, student = open_student(plan, leaf.inputs[method.input], device)
        networks = {**distillation.networks, **distillation.averages}
        torch.manual_seed(derive_seed(figure.seed, "figure", figure.name))
        pairs = distillation.draw(figure.rows, share=False)
        noise = torch.randn(figure.rows, student.noise_dim).to(device)
        first = distillation.first_feature(pairs.features_x[distillation.settings.first_resolution], networks)
        conditions = (distillation.pseudo_condition(images, networks) for images in (pairs.x1, pairs.y))
        images = [student.generate(noise, c, first)[0] for c in conditions]
        columns += ["x1 (teacher)", *(f"{method.label}, {side}" for side in SIDES)]
        shown += [to_pixels(column) for column in (pairs.x1, *images)]
    rows = range(figure.rows)
    return columns, [str(i + 1) for i in rows], [[column[i] for column in shown] for i in rows]
