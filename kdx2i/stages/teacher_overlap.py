"""What the teachers of a table's rows have seen of the rows' training images (protocol entry teacher-overlap)."""

from functools import cache
from pathlib import Path

from kdx2i.data.overlap import training_fingerprints
from kdx2i.errors import UserError
from kdx2i.plan import Plan
from kdx2i.tables.model import TeacherNote


def teacher_notes(plan: Plan, table: str) -> tuple[TeacherNote, ...]:
    """Return a note for each cell whose teacher was trained on some of its dataset's training images.

    It is counted anew from the datasets' sources. A teacher without a recipe in `benchmarks/teachers/` (an official
    one) has no note: what it has seen is not known here.
    """

    @cache
    def images_of(dataset: str) -> set[str]:
        return training_fingerprints(plan.dataset(dataset), plan.root)

    notes: dict[tuple[str, str, int, str], TeacherNote] = {}
    for cell in plan.table(table).cells:
        if cell.actual_dataset is None or cell.actual_resolution is None or not cell.leaves:
            continue
        architecture, transfer = cell.row.architecture, cell.row.transfer
        teacher = _recipe(plan, architecture, transfer, cell.actual_resolution)
        if teacher is None:
            continue
        own = images_of(cell.actual_dataset)
        seen = len(own & images_of(plan.catalogue.teachers(plan.root, teacher).dataset))
        if seen:
            share = f"{seen} of the {len(own)} training images of {cell.actual_dataset}"
            notes[architecture, transfer, cell.resolution, cell.dataset] = TeacherNote(
                architecture=architecture,
                transfer=transfer,
                resolution=cell.resolution,
                dataset=cell.dataset,
                text=f"the teacher {teacher} was trained on {share}",
            )
    return tuple(notes.values())


def _recipe(plan: Plan, architecture: str, transfer: str, resolution: int) -> str | None:
    """Return the recipe's name of the teacher that a method starts from or is distilled from, None without one."""
    if not (plan.catalogue.architectures[architecture].starts_from_teacher or plan.transfers[transfer].distils):
        return None
    try:
        _, source = plan.teacher_of(architecture, resolution)
    except UserError:
        return None
    name = Path(source).stem
    return name if name in plan.teachers else None
