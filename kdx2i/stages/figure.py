"""Stage `figure`: runs (or distilled students) -> one labelled grid of images, the same bytes every time."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from kdx2i.config.figures import STAGE_1
from kdx2i.data.rows import Split
from kdx2i.files import write_bytes, write_json
from kdx2i.foreign import read_document
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import RUN
from kdx2i.plan.specs import FigureSpec
from kdx2i.provenance import require_current, write_provenance
from kdx2i.stages.evaluate import load_method
from kdx2i.stages.figure_conditions import (
    BATCH,
    SIDES,
    ImageGrid,
    draw_conditions,
    draw_pairs,
    held_out_images,
    open_student,
)
from kdx2i.tables.stage1 import NOT_DISTILLED, StudentMeasures, read_students, sentences, student_of
from kdx2i.tasks.image_to_image import OpenTask
from kdx2i.tasks.scoring.base import generate
from kdx2i.tasks.scoring.image_to_image import TaskScoring, TranslationRequests
from kdx2i.tasks.scoring.translation_requests import Translations
from kdx2i.training.determinism import derive_seed, describe_device, make_deterministic, pick_device
from kdx2i.training.precision import to_pixels

CREDIT = "Drawings: see benchmarks/datasets/open_emoji/ATTRIBUTION.md"
LEFT, TOP = 0.4, 0.3
"""Inches for the names of rows and columns."""
LETTERS = 19
"""Letters of a name that stand in a line beside or above an image; what is longer is broken into lines."""

LETTERS_BELOW = 24
"""Letters of a line below the image, an inch of its width."""
LINE = 0.09
"""Inches that a line below the image takes."""


def run(plan: Plan, leaf: Leaf[FigureSpec]) -> None:
    """Draw the figure of `leaf`; every input must be there and current."""
    require_current(upstream for upstream in leaf.upstream() if upstream is not leaf)
    spec = leaf.spec
    make_deterministic()
    device = pick_device()
    torch.manual_seed(derive_seed(spec.figure.seed, "figure", spec.figure.name))
    students = {method.label: _student_of(leaf.inputs[method.input]) for method in spec.methods}
    captions: list[str] = []
    if spec.figure.kind == "students":
        columns, names, grid = _students(plan, leaf, device)
    elif spec.figure.kind == "pairs":
        columns, names, grid = draw_pairs(plan, leaf, device)
    elif spec.figure.kind == "conditions":
        columns, names, grid, captions = draw_conditions(plan, leaf, device)
    else:
        columns, names, grid = _translations(leaf, device)
    shown = [
        f"{label} ({NOT_DISTILLED})" if student is not None and student.distilled is False else label
        for label, student in students.items()
    ]
    marks = dict(zip(students, shown, strict=True))
    if spec.figure.kind == "pairs":
        marks = {f"{label}, {side}": f"{mark}, {side}" for label, mark in marks.items() for side in SIDES}
    if spec.figure.kind == "students" and NOT_DISTILLED in shown[0]:
        marks = {column: f"{column} ({NOT_DISTILLED})" for column in columns if column.startswith("student")}
    columns = [marks.get(column, column) for column in columns]
    below = [*captions, *_below(spec, students, shown)]
    name = spec.figure.name
    write_bytes(leaf.file(f"{name}.png"), draw(columns, names, grid, below))
    caption = {
        "title": spec.figure.title,
        "caption": " ".join(spec.figure.caption.split()),
        "preset": plan.preset.name,
        "drawn_from": {method.label: leaf.inputs[method.input].name for method in spec.methods},
        "left_out": spec.left_out,
        "columns": columns,
        "rows": names,
        "below": below,
        "stage1": {label: student.metrics for label, student in students.items() if student is not None},
        "credit": CREDIT,
    }
    write_json(leaf.file(f"{name}.json"), caption)
    write_provenance(plan, leaf, device=describe_device(device))


def _student_of(drawn: Leaf[Any]) -> StudentMeasures | None:
    """Return the student that is drawn, or that a run starts from, with its measures; None where there is none."""

    def read(leaf: Leaf[Any]) -> Any:
        return read_document(leaf.file("metrics.json"))

    return student_of(drawn, read) if drawn.kind is RUN else read_students([drawn], read)[0]


def _below(spec: FigureSpec, students: Mapping[str, StudentMeasures | None], shown: list[str]) -> list[str]:
    """Return the lines under the image: the measures of a figure of students, else what has not been distilled."""
    if spec.figure.kind in STAGE_1:
        return [line for student in students.values() if student is not None for line in sentences(student)]
    return [f"{label}: its student does not beat its yardsticks" for label in shown if NOT_DISTILLED in label]


def draw(columns: list[str], rows: list[str], grid: ImageGrid, below: Sequence[str] = ()) -> bytes:
    """Return a PNG of a grid of uint8 images [3, R, R], lines of text below; None leaves a place empty."""
    width, height = max(len(columns), 1), max(len(rows), 1)
    with matplotlib.rc_context({"font.size": 6.0, "font.family": "DejaVu Sans"}):
        across = 0.9 * width + LEFT
        text = [part for line in below for part in textwrap.wrap(line, int(LETTERS_BELOW * across))]
        bottom = LINE * len(text)
        down = 0.95 * height + TOP + bottom
        figure = Figure(figsize=(across, down), dpi=128)
        FigureCanvasAgg(figure)
        axes = figure.subplots(height, width, squeeze=False)
        for i, row in enumerate(grid):
            for j, image in enumerate(row):
                axis = axes[i][j]
                axis.set_xticks([])
                axis.set_yticks([])
                axis.spines[:].set_visible(False)
                if image is not None:
                    axis.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
                if i == 0:
                    axis.set_title(textwrap.fill(columns[j], LETTERS), fontsize=6)
                if j == 0:
                    axis.set_ylabel(textwrap.fill(rows[i], LETTERS), fontsize=5)
        figure.text(0.05 / across, 0.04 / down, "\n".join(text), fontsize=5, va="bottom", linespacing=1.2)
        figure.subplots_adjust(LEFT / across, 0.01 + bottom / down, 0.995, 1 - TOP / down, 0.04, 0.04)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@torch.no_grad()
def _students(plan: Plan, leaf: Leaf[FigureSpec], device: torch.device) -> tuple[list[str], list[str], ImageGrid]:
    """Return the teacher's triplets beside what the distilled student makes of x1, by reference or by two noises."""
    spec = leaf.spec
    drawn: Leaf[Any] = leaf.inputs[spec.methods[0].input]
    distillation, student = open_student(plan, drawn, device)
    # Opening a student draws its random start.
    torch.manual_seed(derive_seed(spec.figure.seed, "figure", spec.figure.name))
    count = spec.figure.rows
    t = distillation.draw(count, share=False, others=True)
    content = student.encode(t.x1)[0]
    if spec.figure.guidance == "reference":
        columns = ["x1 (input)", "x2 (reference)", "y (teacher)", "student"]
        shown = [t.x1, t.x2, t.y, student.decode(content, student.style_from_image(t.x2)[0])[0]]
    else:
        columns = ["x1 (input)", "y (teacher), noise 1", "student, noise 1", "y (teacher), noise 2", "student, noise 2"]
        first, second = (
            student.decode(content, student.style_from_noise(z))[0] for z in (t.noise, t.noise.roll(-1, 0))
        )
        shown = [t.x1, t.y, first, t.y if t.other_y is None else t.other_y, second]
    pixels = [to_pixels(images) for images in shown]
    return columns, [str(i + 1) for i in range(count)], [[column[i] for column in pixels] for i in range(count)]


@torch.no_grad()
def _translations(leaf: Leaf[FigureSpec], device: torch.device) -> tuple[list[str], list[str], ImageGrid]:
    """Return sources and their translations by class, by reference or by method."""
    spec = leaf.spec
    figure = spec.figure
    assert figure.guidance is not None  # only pairs have none
    generator = torch.Generator().manual_seed(figure.seed)
    methods = {}
    for method in spec.methods:
        scoring = TaskScoring(OpenTask(Split(leaf.inputs["split"].folder), method.resolution))
        methods[method.label] = load_method(leaf.inputs[method.input], len(scoring.task.classes), device), scoring
    classes, real = scoring.task.classes, scoring.real
    sources = held_out_images(real, figure.rows, generator)
    order = torch.randperm(len(classes), generator=generator)
    targets = order[: figure.columns].sort().values if figure.columns else torch.arange(len(classes))
    references = torch.tensor([_training_image(real, int(target), generator) for target in targets])
    rows = [classes[int(real.labels[i])] for i in sources]
    if figure.kind == "methods":
        targets, references = (
            targets[torch.arange(len(sources)) % len(targets)],
            references[torch.arange(len(sources)) % len(references)],
        )
        grid: ImageGrid = [[real.images[s], real.images[r]] for s, r in zip(sources, references, strict=True)]
        for method, own in methods.values():
            images = _translate(method, own, sources, references, targets, figure.guidance)
            for row, image in zip(grid, images, strict=True):
                row.append(image)
        rows = [f"{row} to {classes[int(t)]}" for row, t in zip(rows, targets, strict=True)]
        kind = "reference" if figure.guidance == "reference" else "target class"
        return ["input", kind, *methods], rows, grid
    ((method, own),) = methods.values()
    count, wide = len(sources), len(targets)
    pairs = (sources.repeat_interleave(wide), references.repeat(count), targets.repeat(count))
    images = _translate(method, own, *pairs, figure.guidance)
    grid = [[real.images[s], *images[i * wide : (i + 1) * wide]] for i, s in enumerate(sources)]
    columns = ["input", *(classes[int(t)] for t in targets)]
    if figure.kind == "references":
        if figure.reconstruction:
            reconstructions = _translate(method, own, sources, sources, real.labels[sources], "reference")
            grid = [[*row, image] for row, image in zip(grid, reconstructions, strict=True)]
            columns.append("reconstruction")
        empty: list[Tensor | None] = [None] * (len(columns) - 1 - wide)
        grid.insert(0, [None, *(real.images[r] for r in references), *empty])
        rows.insert(0, "reference")
    return columns, rows, grid


def _training_image(real: RealImages, label: int, generator: torch.Generator) -> int:
    own = torch.nonzero((real.labels == label) & ~real.is_test).flatten()
    return int(own[torch.randint(len(own), (1,), generator=generator)])


def _translate(
    method: Any, scoring: TaskScoring, sources: Tensor, references: Tensor, targets: Tensor, guidance: str | None
) -> Tensor:
    """Return translations as uint8 [N, 3, R, R]."""
    assert guidance is not None  # only a figure of pairs has none
    requests = TranslationRequests(scoring.real, Translations(sources, references, targets), guidance)
    return generate(method, requests, BATCH, method.device)
