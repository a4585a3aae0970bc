"""A table as bars, one panel for each part and metric: figure 3(b). The bytes depend on the table alone."""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.layout import short_reason, stand_in_line
from kdx2i.tables.learning import NOT_LEARNED
from kdx2i.tables.model import Table, TablePart, TableRow
from kdx2i.tables.published import CellName, Published

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "kdx2i",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
}
_COLOURS = ("#4c4c4c", "#7fb3d5", "#f0b27a", "#1f618d", "#c0392b", "#7d6608", "#6c3483")
_BARS = 0.84


def render_plot(table: Table, published: Published, kind: str) -> bytes:
    """Return the plot as `svg` or `png` bytes.

    Bars are means over seeds with their 95% intervals; a cell without a number is a word, not a bar. The
    dashed line is real against real. Crosses are printed numbers, and they are drawn only where the
    conditions are the paper's: on a stand-in the two have no common scale.
    """
    panels = [(part, metric) for part in table.parts for metric in part.metrics]
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(8.2, 0.6 + 2.9 * len(panels)), layout="constrained")
        for number, (part, metric) in enumerate(panels, start=1):
            _panel(figure.add_subplot(len(panels), 1, number), table, part, metric, published)
        title = table.title if not stand_in_line(table) else f"{table.title}\n{_stand_ins(table)}"
        figure.suptitle(title, fontsize=8)
        return figure_bytes(figure, kind, dpi=160)


def figure_bytes(figure: Figure, kind: str, *, dpi: int) -> bytes:
    """Return a figure as `svg` or `png` bytes that hold no date and no program; `dpi` counts for png only."""
    buffer = io.BytesIO()
    if kind == "svg":
        FigureCanvasSVG(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    else:
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _stand_ins(table: Table) -> str:
    return f"preset {table.context.preset}: stand-in conditions, not the paper's absolute values"


def _panel(axes: Axes, table: Table, part: TablePart, metric: str, published: Published) -> None:
    """Draw the bars of one metric, grouped by dataset."""
    rows = part.methods()
    width = _BARS / len(rows)
    for index, row in enumerate(rows):
        centres = [group - _BARS / 2 + (index + 0.5) * width for group in range(len(part.datasets))]
        colour = _COLOURS[index % len(_COLOURS)]
        axes.bar(0, 0, color=colour, label=row.shown)
        for centre, dataset in zip(centres, part.datasets, strict=True):
            _bar(axes, row, dataset, metric, centre=centre, width=width, colour=colour)
            value = published.get(CellName(part.name, dataset, row.label, metric))
            if value is not None and not table.departures(row, dataset):
                axes.plot([centre], [float(value.value)], "x", color="black", markersize=5)
    for group, dataset in enumerate(part.datasets):
        _floor(axes, part.controls(), dataset, metric, group)
    axes.set_xticks(range(len(part.datasets)))
    axes.set_xticklabels([_dataset(table, dataset) for dataset in part.datasets])
    axes.set_xlim(-0.6, len(part.datasets) - 0.4)
    axes.set_ylabel(METRICS[metric].heading)
    axes.set_title(part.title, fontsize=8)
    axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _dataset(table: Table, dataset: str) -> str:
    used = table.context.datasets.get(dataset)
    return dataset if used == dataset else f"{dataset}\n(here: {used or 'none'})"


def _bar(axes: Axes, row: TableRow, dataset: str, metric: str, *, centre: float, width: float, colour: str) -> None:
    """Draw one bar with its interval, or the short reason that there is none."""
    cell = row.cell(dataset, metric)
    if cell.mean is None:
        at = axes.get_xaxis_transform()
        text = short_reason(cell)
        axes.text(centre, 0.02, text, transform=at, rotation=90, ha="center", va="bottom", fontsize=6, color=colour)
        return
    axes.bar([centre], [cell.mean], width=0.92 * width, color=colour, alpha=1.0 if cell.learned else 0.35)
    if not cell.learned:
        at = axes.get_xaxis_transform()
        axes.text(centre, 0.02, NOT_LEARNED, transform=at, rotation=90, ha="center", va="bottom", fontsize=6)
    if cell.interval is not None:
        reach = (cell.interval[1] - cell.interval[0]) / 2
        axes.errorbar([centre], [cell.mean], yerr=[reach], color="black", capsize=2, linewidth=0.8)


def _floor(axes: Axes, controls: Sequence[TableRow], dataset: str, metric: str, group: int) -> None:
    """Draw real against real as a dashed line across a dataset's bars."""
    for row in controls:
        floor = row.cell(dataset, metric).mean
        if row.label == "Real against real" and floor is not None:
            axes.plot([group - _BARS / 2, group + _BARS / 2], [floor, floor], "--", color="black", linewidth=0.8)
