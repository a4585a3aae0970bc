"""Stage `stage1`: the measures of a preset's students -> `results/<preset>/stage1.{csv,md}`."""

from collections.abc import Mapping
from typing import Any

from kdx2i.files import write_text
from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import Stage1Spec
from kdx2i.provenance import require_current, write_provenance
from kdx2i.stages.console import screen
from kdx2i.tables.stage1 import StudentMeasures, grid, read_students, render_csv, render_markdown


def run(plan: Plan, leaf: Leaf[Stage1Spec]) -> None:
    """Write the table of `leaf`; every student that it lists must be there and current."""
    require_current(upstream for upstream in leaf.upstream() if upstream is not leaf)
    students = measured_students(leaf)
    write_text(leaf.file("stage1.csv"), render_csv(students))
    write_text(leaf.file("stage1.md"), render_markdown(students))
    write_provenance(plan, leaf)


def show(plan: Plan) -> None:
    """Print the table that is there and current."""
    leaf = plan.stage1()
    require_current([leaf])
    screen().print(grid(measured_students(leaf)))


def measured_students(leaf: Leaf[Stage1Spec]) -> list[StudentMeasures]:
    """Read the measures of every student of a table that has been made."""

    def read(student: Leaf[Any]) -> Mapping[str, Any]:
        metrics: Mapping[str, Any] = read_document(student.file("metrics.json"))
        return metrics

    return read_students(leaf.inputs.values(), read)
