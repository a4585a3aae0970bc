"""The ladder of an extractor: real images of datasets under growing damage, printed, written and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from kdx2i.data.rows import Split
from kdx2i.errors import UserError
from kdx2i.files import write_bytes, write_csv
from kdx2i.metric_catalogue import METRICS
from kdx2i.metrics.extractors.extractor import build_extractor
from kdx2i.metrics.runs import run_scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Plan
from kdx2i.provenance import require_current
from kdx2i.stages.console import screen
from kdx2i.tables.plot import figure_bytes
from kdx2i.tasks.scoring.base import open_scoring
from kdx2i.tasks.scoring.ladder import ACCURACY, DISTANCES, Climb, climb
from kdx2i.training.determinism import pick_device

COLUMNS = ("extractor", "extractor_sha256", "dataset", "resolution", "rung", "kind", "level", "metric", "value")
_PLOT_STYLE: dict[str, Any] = {"svg.hashsalt": "kdx2i", "svg.fonttype": "none", "font.family": "DejaVu Sans",
                               "font.size": 7.0}  # fmt: skip


@dataclass(frozen=True)
class LadderRequest:
    """What is climbed: an extractor (with its own weights or others), datasets, pixels of a side; and where to write.

    `csv` and `plot` are files; None writes none.
    """

    extractor: str
    datasets: tuple[str, ...]
    resolutions: tuple[int, ...]
    weights: Path | None = None
    csv: Path | None = None
    plot: Path | None = None


@dataclass(frozen=True)
class Ladder:
    """One climb, and the dataset and resolution in pixels that it was made on."""

    dataset: str
    resolution: int
    climb: Climb

    def broken(self) -> list[str]:
        """Return a sentence for each pair of rungs that a distance has in the wrong order."""
        return [
            f"{self.dataset}, {self.resolution} px: {metric} puts {low} "
            f"({METRICS[metric].text(self.climb.values[metric][low])}) above {high} "
            f"({METRICS[metric].text(self.climb.values[metric][high])})"
            for metric in DISTANCES
            for low, high in self.climb.broken(metric)
        ]


def run(plan: Plan, request: LadderRequest) -> bool:
    """Print, write and draw the ladders of a request, and tell whether every distance keeps the order.

    `UserError` for splits that are not there and for what `build_extractor` refuses.
    """
    if request.plot is not None and request.plot.suffix not in (".svg", ".png"):
        raise UserError(f"--plot {request.plot} must end in .svg or .png")
    ladders, sha256 = climbed(plan, request)
    console = screen()
    for one in ladders:
        console.print(_table(one, request.extractor))
    broken = [sentence for one in ladders for sentence in one.broken()]
    for sentence in broken:
        console.print(f"[red]broken:[/red] {sentence}", highlight=False, soft_wrap=True)
    console.print(f"{request.extractor}: {'in order' if not broken else f'{len(broken)} pairs out of order'}")
    if request.csv is not None:
        write_csv(request.csv, COLUMNS, _rows(ladders, request.extractor, sha256))
    if request.plot is not None:
        write_bytes(request.plot, drawn(ladders, request.extractor, request.plot.suffix[1:]))
    return not broken


def climbed(plan: Plan, request: LadderRequest) -> tuple[list[Ladder], str]:
    """Return the ladders of a request, and the SHA-256 of the extractor's weights."""
    require_current([plan.split(name) for name in request.datasets])
    extractor = build_extractor(request.extractor, weights_path=request.weights, device=pick_device())
    settings = EvaluationSettings(extractor=request.extractor)
    ladders = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name in request.datasets:
            for resolution in request.resolutions:
                task = progress.add_task(f"{name}, {resolution} px", total=None)
                scoring = open_scoring(plan.dataset(name).task, Split(plan.split(name).folder), resolution)
                scorer = run_scorer(scoring.real, scoring.task.classes, settings, extractor=extractor)
                ladders.append(Ladder(name, resolution, climb(scorer, done=partial(progress.advance, task))))
    return ladders, extractor.weights_sha256


def _table(ladder: Ladder, extractor: str) -> Table:
    """Return the table of one ladder: a row a rung; values that break the order are red."""
    metrics = (*DISTANCES, ACCURACY)
    table = Table(title=f"{extractor} on {ladder.dataset}, {ladder.resolution} px", title_justify="left")
    table.add_column("real images, ...")
    for metric in metrics:
        table.add_column(METRICS[metric].heading, justify="right")
    wrong = {(metric, name) for metric in DISTANCES for pair in ladder.climb.broken(metric) for name in pair}
    for rung in ladder.climb.rungs:
        cells = []
        for metric in metrics:
            value = ladder.climb.values[metric].get(rung.name)
            text = "" if value is None else METRICS[metric].text(value)
            cells.append(f"[red]{text}[/red]" if (metric, rung.name) in wrong else text)
        table.add_row(rung.name, *cells)
    return table


def _rows(ladders: Sequence[Ladder], extractor: str, sha256: str) -> list[dict[str, Any]]:
    """Return one row for each value."""
    return [
        {
            "extractor": extractor,
            "extractor_sha256": sha256,
            "dataset": one.dataset,
            "resolution": one.resolution,
            "rung": rung.name,
            "kind": rung.kind,
            "level": rung.level,
            "metric": metric,
            "value": f"{values[rung.name]:.6g}",
        }
        for one in ladders
        for metric, values in one.climb.values.items()
        for rung in one.climb.rungs
        if rung.name in values
    ]


def drawn(ladders: Sequence[Ladder], extractor: str, kind: str) -> bytes:
    """Return the plot of ladders as `svg` or `png` bytes: a row a ladder, a panel a distance, a bar a rung."""
    with style.context(["default", _PLOT_STYLE]):
        figure = Figure(figsize=(11.0, 0.4 + 2.0 * len(ladders)), layout="constrained")
        panels = figure.subplots(len(ladders), len(DISTANCES), squeeze=False)
        for row, ladder in zip(panels, ladders, strict=True):
            for axes, metric in zip(row, DISTANCES, strict=True):
                _panel(axes, ladder, metric)
        figure.suptitle(f"{extractor}: real images under growing damage (red: out of order)", fontsize=8)
        return figure_bytes(figure, kind, dpi=110)


def _panel(axes: Axes, ladder: Ladder, metric: str) -> None:
    """Draw the bars of one distance; rungs of pairs that are out of order are red."""
    values = ladder.climb.values[metric]
    names = [rung.name for rung in ladder.climb.rungs if rung.name in values]
    wrong = {name for pair in ladder.climb.broken(metric) for name in pair}
    axes.bar(range(len(names)), [values[name] for name in names],
             color=["#c0392b" if name in wrong else "#1f618d" for name in names])  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=5)
    axes.set_title(f"{ladder.dataset}, {ladder.resolution} px: {METRICS[metric].heading}", fontsize=6)
