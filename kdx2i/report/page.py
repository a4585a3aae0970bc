"""The page itself: what the rooms of the report gather, in one HTML file (templates by Jinja2)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kdx2i.config import ProtocolEntry, load_protocol, load_table, names_in
from kdx2i.metric_catalogue import METRICS
from kdx2i.report import evidence, findings
from kdx2i.report.lineage import Lineage
from kdx2i.report.pictures import Picture, Pictures
from kdx2i.report.plots import inline_plot
from kdx2i.report.published_notes import Erratum, dataset_errata, table_errata
from kdx2i.report.sources import ReportTable, Source, report_tables
from kdx2i.report.tables import Details, TableView, table_view
from kdx2i.tables.comparison import Comparison, compare
from kdx2i.tables.model import Table
from kdx2i.tables.published import read_published
from kdx2i.tasks.facts import CONTROL_MEANINGS

FIGURE = "figure3b"


@dataclass(frozen=True)
class NotComputed:
    """A table of the paper that the report has no numbers of, and how many the paper prints."""

    name: str
    title: str
    printed: int
    command: str


@dataclass(frozen=True)
class Choice:
    """An entry of the protocol register with the choice that the numbers of this report were made under."""

    entry: ProtocolEntry
    here: str

    @property
    def differs(self) -> bool:
        """Whether it is not the choice of the preset `paper`."""
        return self.here != self.entry.chosen


def render(sources: Sequence[Source], claims: Mapping[str, Any]) -> str:
    """Return the report on sources of one preset as HTML; what is not there is said, and what is broken refused.

    `claims` is what their tables say of the paper's claims (`kdx2i.tables.claims_text.as_document`).
    """
    root = sources[0].root
    shown = [table for source in sources for table in report_tables(source)]
    tables = [item.table for item in shown]
    comparison = compare(tables, {item.table.name: item.published for item in shown})
    verdicts = {(cell.table, cell.part, cell.dataset, cell.label, cell.metric): cell for cell in comparison.cells}
    pictures = Pictures()
    figures = [figure for source in sources for figure in evidence.qualitative_figures(source, pictures)]
    lineage, details = Lineage(pictures, tables[0].context.seeds[0]), Details()
    views = [table_view(item, verdicts, lineage, details) for item in shown]
    losses = evidence.loss_groups(root, lineage)
    encoded = pictures.encoded(root)
    values = {
        **_numbers(tables, comparison, views),
        **_paper(root, shown),
        "sources": sources,
        "root_command": _command(sources),
        "context": tables[0].context,
        "stand_in": any(view.stand_in for view in views),
        "plot": _plot(shown),
        "figures": figures,
        "pictures": {picture.key: picture for picture in encoded},
        "grids": _grids(encoded, figures),
        "losses": losses,
        "stage1": [row for source in sources for row in evidence.stage1_rows(source, lineage)],
        "ladders": evidence.ladders(root, tables[0].context.extractor),
        "claims": claims,
        "commits": evidence.commits(lineage.leaves.values()),
        "machines": sorted({leaf["machine"] for leaf in lineage.leaves.values() if "machine" in leaf}),
        "controls": CONTROL_MEANINGS,
        "metrics": METRICS,
        "data": Markup(
            evidence.as_json(
                {
                    "cells": details.cells,
                    "texts": details.texts,
                    "leaves": lineage.leaves,
                    "packages": lineage.packages,
                }
            )
        ),
    }
    return _environment().get_template("page.html.j2").render(values)


def _environment() -> Environment:
    """Return the templates' environment: everything is escaped, an unknown name is an error."""
    environment = Environment(
        loader=PackageLoader("kdx2i.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = lambda number, digits=2: "" if number is None else f"{number:.{digits}f}"
    environment.filters["percent"] = lambda number: "" if number is None else f"{number:+.0f} %".replace("-", "−")
    environment.filters["slug"] = lambda text: "".join(c if c.isalnum() else "-" for c in str(text).casefold())
    environment.filters["asdict"] = asdict
    return environment


def _numbers(tables: Sequence[Table], comparison: Comparison, views: Sequence[TableView]) -> dict[str, Any]:
    """Return the reproduced numbers as the page lists them."""
    gains = findings.gain_rows(comparison.gains)
    statements, cells = findings.statements(gains), comparison.cells
    return {
        "tables": views,
        "titles": {view.name: view.title for view in views},
        "part_titles": {(table.name, part.name): part.title for table in tables for part in table.parts},
        "cells": findings.compare_rows(comparison, tables),
        "verdicts": findings.verdict_counts(cells),
        "computed": sum(cell.reproduced is not None for cell in cells),
        "not_learned": sum(cell.verdict == "not learned" for cell in cells),
        "total": len(cells),
        "gains": gains,
        "statements": statements,
        "overall": findings.overall(statements),
        "same_sign": (sum(g.agrees == "same" for g in gains), sum(g.agrees != "" for g in gains)),
        "orders": comparison.orders,
        "order_counts": findings.order_counts(comparison.orders),
    }


def _paper(root: Path, shown: Sequence[ReportTable]) -> dict[str, Any]:
    """Return what the page says of the paper: choices, contradictions, and the tables that are not computed."""
    protocol = shown[0].table.context.protocol
    choices = [Choice(entry, protocol.get(entry.id, entry.chosen)) for entry in load_protocol(root).entries]
    names = names_in(root / "benchmarks" / "tables")
    have = {item.table.name for item in shown}
    preset = shown[0].source.preset
    config = "" if preset == "open" else f" --config preset={preset}"
    missing = [
        NotComputed(
            name=name,
            title=load_table(root, name).title,
            printed=len(read_published(root, name)),
            command=f"snakemake --cores 8 {name}{config}",
        )
        for name in names
        if name not in have
    ]
    errata: list[Erratum] = [erratum for name in names for erratum in table_errata(read_published(root, name))]
    return {
        "choices": [choice for choice in choices if choice.entry.kind == "choice"],
        "contradictions": [choice for choice in choices if choice.entry.kind == "contradiction"],
        "errata": [*errata, *dataset_errata(root)],
        "missing": missing,
    }


def _command(sources: Sequence[Source]) -> str:
    """Return the command line that makes this page again."""
    if sources[0].reference:
        names = " ".join(f"--reference {source.folder.name}" for source in sources)
        return f"kdx2i report {names} --output report.html"
    return f"kdx2i report --preset {sources[0].preset} {' '.join(sources[0].tables)}"


def _plot(shown: Sequence[ReportTable]) -> Markup | None:
    """Return figure 3(b) as an SVG element, None where it is not computed."""
    for item in shown:
        if item.table.name == FIGURE:
            return Markup(inline_plot(item.table, item.published))
    return None


def _grids(pictures: Sequence[Picture], figures: Sequence[evidence.Figure]) -> list[Picture]:
    """Return the sample grids: the pictures that no qualitative figure shows, by what they show."""
    drawn = {figure.picture for figure in figures}
    return sorted((picture for picture in pictures if picture.key not in drawn), key=lambda p: p.caption)
