"""Stage `report`: tables, figures and what is behind them -> `results/<preset>/report.html`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdx2i.files import write_text
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import ReportSpec
from kdx2i.provenance import problem, require_current, write_provenance
from kdx2i.report.page import render
from kdx2i.report.sources import Source, reference_sources, report_tables
from kdx2i.stages.claims import judged
from kdx2i.tables.claims_text import as_document


def run(plan: Plan, leaf: Leaf[ReportSpec]) -> None:
    """Write the report of `leaf`; everything that it shows must be there and current."""
    require_current(leaf.inputs.values())
    source = Source(plan.root, plan.results, plan.preset_argument, leaf.spec.tables, leaf.spec.figures)
    claims = _claims([source], f"preset {plan.preset.name}")
    write_text(leaf.file("report.html"), render([source], claims))
    write_provenance(plan, leaf)


def current_report(plan: Plan, tables: Sequence[str]) -> Leaf[ReportSpec]:
    """Return the report on tables, with the figures and the measures of stage 1 that are current."""
    figures = [
        name for name, figure in plan.figures.items() if figure.leaf is not None and problem(figure.leaf) is None
    ]
    stage1 = plan.stage1_if_any()
    return plan.report(tables, figures, stage1=stage1 is not None and problem(stage1) is None)


def write_reference_report(root: Path, names: Sequence[str], output: Path) -> None:
    """Write the report on committed references of one preset to a file."""
    sources = reference_sources(root, names)
    write_text(output, render(sources, _claims(sources, f"results/reference/{', '.join(names)}")))


def _claims(sources: Sequence[Source], where: str) -> dict[str, Any]:
    """Return what the tables of a report say of the paper's claims."""
    tables = {item.table.name: item.table for source in sources for item in report_tables(source)}
    return as_document(judged(sources[0].root, tables), where)
