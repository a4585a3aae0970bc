"""From a student to its measures, command, inputs and log."""

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import DISTILLED
from kdx2i.provenance import problem
from kdx2i.tables.stage1 import StudentMeasures, read_students, sentences, student_of


def show_students(plan: Plan, _: str, words: str, console: Console) -> None:
    """Print the measures of the preset's students that have every word of `words` (split at `/`), and their origin."""
    for leaf in find_students(plan, words):
        console.print(escape("\n".join(_lines(plan, leaf))), highlight=False, soft_wrap=True)


def students_document(plan: Plan, _: str, words: str) -> dict[str, Any]:
    """Return the same as JSON; `measures` are there where a student's are current."""
    students = []
    for leaf in find_students(plan, words):
        wrong = problem(leaf)
        students.append(
            {
                "student": leaf.name,
                "problem": None if wrong is None else wrong.sentence,
                "measures": read_document(leaf.file("metrics.json")) if wrong is None else None,
                "identity": leaf.identity,
                "command": plan.command(leaf),
            }
        )
    return {"format": "kdx2i-show-1", "preset": plan.preset.name, "students": students}


def find_students(plan: Plan, words: str) -> list[Leaf[Any]]:
    """Return the preset's students that have every word of `words` (split at `/`).

    Words are architectures, transfers, resolutions and seeds (`s0`); a wrong one raises `UserError` with the students.
    """
    students = {leaf.name: leaf for leaf in plan.stage1().inputs.values()}
    asked = [word.strip().casefold() for word in words.split("/") if word.strip()]
    matching = [leaf for leaf in students.values() if all(word in _words(leaf) for word in asked)]
    if not matching:
        names = ", ".join("/".join(_words(leaf)[:4]) for leaf in students.values())
        raise UserError(f"preset {plan.preset.name} has no student `{words}`; its students are {names}")
    return matching


def _words(leaf: Leaf[Any]) -> list[str]:
    """Return what a student is called by: architecture, transfer, pixels, seed, and short forms."""
    spec = leaf.spec
    plain = [spec.architecture, spec.transfer, str(spec.resolution), f"s{spec.seed}"]
    return [*plain, f"r{spec.resolution}", leaf.name.casefold()]


def _lines(plan: Plan, leaf: Leaf[Any]) -> list[str]:
    wrong = problem(leaf)
    if wrong is None:
        lines = sentences(read_students([leaf], lambda student: read_document(student.file("metrics.json")))[0])
    else:
        lines = [f"{leaf.spec.architecture} {leaf.spec.transfer} at {leaf.spec.resolution} px", f"  {wrong.sentence}"]
    lines += [f"  identity  {leaf.identity}", f"  command   {shlex.join(plan.command(leaf))}"]
    if leaf.kind is DISTILLED:
        lines += files_that_are_there(
            plan.root, log=leaf.directory / "log.jsonl", images=leaf.directory / "samples.png"
        )
    return lines


def files_that_are_there(root: Path, **files: Path) -> list[str]:
    """Return a line for each of the files, relative to `root`, that exists."""
    return [f"  {name:9} {path}" for name, path in files.items() if (root / path).is_file()]


def lines_of_run(run: Leaf[Any]) -> list[str]:
    """Return the measures of the student that a run starts from, as lines; none where it starts from none."""

    def read(leaf: Leaf[Any]) -> Any:
        return read_document(leaf.file("metrics.json")) if problem(leaf, checksums=False) is None else None

    student: StudentMeasures | None = student_of(run, read)
    return [] if student is None else sentences(student)
