"""The measures of stage 1 as a table, and what they say of the rows that start from a student.

What each measure is: `docs/stage1.md` and `kdx2i.distill.measures`.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.plan import Leaf
from kdx2i.plan.kinds import DISTILLED
from kdx2i.plan.shipped import distilled_by, read_shipped
from kdx2i.plan.specs import DistillSpec, RunSpec
from kdx2i.tables.markdown import escape_markdown

COLUMNS = (
    "architecture",
    "transfer",
    "resolution",
    "seed",
    "guidance",
    "l1",
    "l1_copy",
    "l1_constant",
    "l1_shuffled",
    "response",
    "retrieval",
    "distilled",
    "student",
    "reason",
)
HEADINGS = ("student", "px", "seed", "guidance", "L1", "copy", "constant", "shuffled", "response", "retrieval %", "")
DIGITS = {"l1": 3, "l1_copy": 3, "l1_constant": 3, "l1_shuffled": 3, "response": 2, "retrieval": 0}
NOT_DISTILLED = "not distilled"
TITLE = "Stage 1: what the students have learned from their teachers"
CAPTION = (
    "Held-out triplets of the teacher. L1 of the student's image to y, beside what costs nothing: x1 copied, the best "
    "constant image, the student with another triplet's reference or noise; response: how much the student's image "
    "changes with x2, over how much y does; retrieval: is y the nearest of 100. A student is distilled when it beats "
    "every yardstick; one without alignment losses, when its images are nearer to the teacher's than one constant is."
)


@dataclass(frozen=True)
class StudentMeasures:
    """A student and its metrics.json; `shipped` is the path of its file, None where it is distilled here."""

    spec: DistillSpec
    metrics: Mapping[str, Any]
    shipped: str | None

    @property
    def distilled(self) -> bool | None:
        """Whether it beats its yardsticks; None where that was not measured."""
        return distilled_by(dict(self.metrics))

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"{self.spec.architecture} {self.spec.transfer}"


def read_students(leaves: Iterable[Leaf[Any]], read: Callable[[Leaf[Any]], Mapping[str, Any]]) -> list[StudentMeasures]:
    """Return the measures of students that were distilled or measured here; `read` returns a leaf's metrics.json."""
    return [StudentMeasures(leaf.spec, read(leaf), getattr(leaf.spec, "student_file", None)) for leaf in leaves]


def rows(student: StudentMeasures) -> list[dict[str, Any]]:
    """Return the lines of stage1.csv of a student, one for each guidance that it has."""
    spec, metrics = student.spec, student.metrics
    place = {
        "architecture": spec.architecture,
        "transfer": spec.transfer,
        "resolution": spec.resolution,
        "seed": spec.seed,
    }
    about = {
        "distilled": {True: "yes", False: "no", None: ""}[student.distilled],
        "student": student.shipped or "distilled here",
        "reason": metrics.get("reason", ""),
    }
    by_guidance: Mapping[str, Mapping[str, Any]] = metrics.get("guidance", {})
    return [
        {**place, "guidance": guidance, **{key: values.get(key) for key in DIGITS}, **about}
        for guidance, values in by_guidance.items()
    ]


def render_csv(students: Iterable[StudentMeasures]) -> str:
    """Return `stage1.csv`: numbers in full precision, empty fields where there is none."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    for student in students:
        for row in rows(student):
            writer.writerow({key: repr(v) if isinstance(v, float) else v for key, v in row.items()})
    return buffer.getvalue()


def render_markdown(students: Iterable[StudentMeasures]) -> str:
    """Return the measures as a Markdown page."""
    lines = [HEADINGS, ("---", "---:", "---:", "---", *["---:"] * len(DIGITS), "---")]
    lines += [tuple(map(escape_markdown, cells)) for student in students for cells in _texts(student)]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"# {TITLE}\n\n{body}\n\n{CAPTION}\n"


def grid(students: Iterable[StudentMeasures]) -> Grid:
    """Return the measures as they are printed on a screen."""
    table = Grid(title=TITLE, title_justify="left", title_style="bold", caption=CAPTION, caption_justify="left")
    for heading in HEADINGS:
        numeric = heading not in ("student", "guidance", "")
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for student in students:
        for cells in _texts(student):
            table.add_row(*map(escape, cells), style="yellow" if student.distilled is False else None)
    return table


def _texts(student: StudentMeasures) -> list[tuple[str, ...]]:
    """Return the cells of a student's lines, rounded."""
    name = f"{student.name} (shipped)" if student.shipped else student.name
    lines = []
    for row in rows(student):
        numbers = ["–" if row[key] is None else f"{row[key]:.{digits}f}" for key, digits in DIGITS.items()]
        place = (name, str(row["resolution"]), str(row["seed"]), row["guidance"])
        lines.append((*place, *numbers, NOT_DISTILLED if student.distilled is False else ""))
    return lines


def sentences(student: StudentMeasures) -> list[str]:
    """Return the measures of a student as lines of text: one for each guidance, then the verdict."""
    origin = student.shipped or f"distilled with seed {student.spec.seed}"
    lines = [f"stage 1: {student.name} at {student.spec.resolution} px, {origin}"]
    for row in rows(student):
        parts = [f"L1 {_number(row, 'l1')}"]
        parts += [f"{word} {_number(row, f'l1_{word}')}" for word in ("copy", "constant", "shuffled")]
        parts += [f"response {_number(row, 'response')}", f"retrieval {_number(row, 'retrieval')} %"]
        lines.append(f"  by {row['guidance']}: {', '.join(parts)}")
    alignment: Mapping[str, Mapping[str, Any]] = student.metrics.get("alignment") or {}
    for name, by_resolution in alignment.items():
        values = ", ".join(f"{resolution} px {value:.2f}" for resolution, value in by_resolution.items())
        lines.append(f"  alignment, {name}: {values}")
    verdict = {True: "distilled", False: NOT_DISTILLED, None: "not measured"}[student.distilled]
    reason = student.metrics.get("reason")
    return [*lines, f"  {verdict}: {reason}" if reason else f"  {verdict}"]


def _number(row: Mapping[str, Any], key: str) -> str:
    return "–" if row[key] is None else f"{row[key]:.{DIGITS[key]}f}"


def student_of(run: Leaf[RunSpec], read: Callable[[Leaf[Any]], Any]) -> StudentMeasures | None:
    """Return the student that a run starts from, with its measures; None where it starts from none.

    Those of a shipped student are the ones that it was shipped with. `read` returns the metrics.json of a distilled
    student, or something else where there is none.
    """
    path = run.spec.student_file
    if path is not None:
        shipped = read_shipped(run.root / path)
        return StudentMeasures(shipped.spec, shipped.metrics, path)
    leaf = run.inputs.get("distilled")
    if leaf is None or leaf.kind is not DISTILLED:
        return None
    metrics = read(leaf)
    return StudentMeasures(leaf.spec, metrics if isinstance(metrics, Mapping) else {}, None)


def stage1_mark(runs: Iterable[Leaf[RunSpec]], read: Callable[[Leaf[Any]], Any]) -> str:
    """Return what a row says of the students that its runs, one for each seed, start from; empty for nothing."""
    verdicts = {run.spec.seed: student.distilled for run in runs if (student := student_of(run, read)) is not None}
    failed = sorted(seed for seed, distilled in verdicts.items() if distilled is False)
    if not failed:
        return ""
    seeds = f": seed{'s' if len(failed) > 1 else ''} {', '.join(map(str, failed))}"
    return NOT_DISTILLED if len(failed) == len(verdicts) else NOT_DISTILLED + seeds
