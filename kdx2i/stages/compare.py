"""Stage `compare`: tables and the published numbers -> `results/<preset>/comparison.{csv,json}` and `metrics.json`."""

from collections.abc import Sequence
from pathlib import Path

from kdx2i.errors import UserError
from kdx2i.files import write_json
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import ComparisonSpec
from kdx2i.provenance import problem, require_current, write_provenance
from kdx2i.stages.console import screen, terminal_screen
from kdx2i.tables.comparison import Comparison, compare, metric_tree, write_comparison
from kdx2i.tables.comparison_screen import print_comparison
from kdx2i.tables.expectations import Failure, failed_expectations, load_expectations
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.published import read_published


def run(
    plan: Plan, leaf: Leaf[ComparisonSpec], *, expectations: Path | None = None, every: bool = False
) -> tuple[Comparison, Sequence[Failure]]:
    """Compare the tables of `leaf`, write and print the comparison, and return it with the failed expectations.

    Every table must be current. `expectations` is a YAML file of `kdx2i.tables.expectations`; `every` prints each cell.
    """
    require_current(leaf.inputs.values())
    tables = [load_table_json(table.file(f"{name}.json")) for name, table in leaf.inputs.items()]
    published = {table.name: read_published(plan.root, table.name) for table in tables}
    comparison = compare(tables, published)
    failures: list[Failure] = []
    if expectations is not None:
        failures = failed_expectations(load_expectations(expectations), tables, comparison)
    write_comparison(comparison, leaf.folder)
    write_json(leaf.file("metrics.json"), metric_tree(tables))
    write_provenance(plan, leaf)
    print_comparison(comparison, screen() if every else terminal_screen(), failures, every=every)
    return comparison, failures


def current_tables(plan: Plan) -> list[str]:
    """Return the names of the tables that are there and still true, sorted; none raises `UserError`."""
    names = [name for name in plan.tables if problem(plan.rendered(name)) is None]
    if not names:
        raise UserError(
            f"preset {plan.preset.name} has no current table: make one first, e.g. with `snakemake --cores 8 table1`"
        )
    return names
