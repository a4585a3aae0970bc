"""Stage `table`: evaluations and controls -> `results/<preset>/tables/<name>.{csv,md,tex,json}`."""

from collections.abc import Mapping
from typing import Any

from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import TableSpec
from kdx2i.provenance import Problem, kinds_of_machine, problem, require_current, stated_by, write_provenance
from kdx2i.stages.console import terminal_screen
from kdx2i.stages.teacher_overlap import teacher_notes
from kdx2i.tables.assemble import Absent
from kdx2i.tables.gather import build_table
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.published import read_published
from kdx2i.tables.render import write_plot, write_table
from kdx2i.tables.screen import print_table


def run(plan: Plan, leaf: Leaf[TableSpec]) -> None:
    """Write the table of `leaf`.

    Every leaf that it is made of must be current, down to the splits: a missing, stale or corrupt one
    raises `UserError`, so a table never shows what is not true any more.
    """
    name = leaf.spec.table.name
    require_current(upstream for upstream in leaf.upstream() if upstream is not leaf)
    table = build_table(
        plan, name, lambda upstream: read_document(upstream.file("metrics.json")), teacher_notes(plan, name)
    )
    machines = tuple(kinds_of_machine(leaf.upstream()))
    if len(machines) > 1:
        table = table.model_copy(update={"machines": machines})
    adopted = sum("adopted" in stated_by(upstream) for upstream in leaf.upstream())
    table = table.model_copy(update={"adopted": adopted})
    published = read_published(plan.root, name)
    write_table(table, published, leaf.folder)
    if plan.table(name).config.plot:
        write_plot(table, published, leaf.folder)
    write_provenance(plan, leaf)


def show(plan: Plan, name: str) -> None:
    """Print a table that is there and current."""
    leaf = plan.rendered(name)
    require_current([leaf])
    table, published = load_table_json(leaf.file(f"{name}.json")), read_published(plan.root, name)
    print_table(table, published, terminal_screen(), file=f"{leaf.directory}/{name}.md")


def preview(plan: Plan, name: str) -> list[Problem]:
    """Print the table of what is there, with the reason in each cell that is not, and write nothing.

    Return what is missing, stale or corrupt.
    """
    problems: list[Problem] = []

    def read(leaf: Leaf[Any]) -> Mapping[str, Any] | Absent:
        first_problem = next((p for upstream in leaf.upstream() if (p := problem(upstream)) is not None), None)
        if first_problem is None:
            metrics: Mapping[str, Any] = read_document(leaf.file("metrics.json"))
            return metrics
        problems.append(first_problem)
        return Absent(f"{first_problem.kind}: {first_problem.sentence}")

    table = build_table(plan, name, read, teacher_notes(plan, name))
    print_table(table, read_published(plan.root, name), terminal_screen())
    return problems
