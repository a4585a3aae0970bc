"""A comparison with the published numbers on the screen: counts and what matters first, or every cell."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.comparison import VERDICTS, CellComparison, Comparison
from kdx2i.tables.expectations import Failure
from kdx2i.tables.model import marked
from kdx2i.tables.orders import Gain

SHOWN = 12
"""How many lines of each kind are printed before the rest is counted."""
_COLOURS = {
    "reproduced": "green",
    "better": "cyan",
    "worse": "red",
    "missing": "yellow",
    "not learned": "yellow",
    "not comparable": "dim",
}
_MATTERS = ("really different", "erratum of the paper", "sample-size bias", "seed noise")
"""The reasons of a comparable cell, those first that a reader has to know."""


def print_comparison(
    comparison: Comparison, console: Console, failures: Sequence[Failure] = (), *, every: bool = False
) -> None:
    """Print the counts, then what matters: expectations that failed, cells under the paper's conditions, gains, orders.

    `every` prints each cell, gain and order, in a table as wide as the console.
    """
    counts = ", ".join(f"{comparison.count(name)} {name}" for name in VERDICTS if comparison.count(name))
    console.print(f"[bold]{len(comparison.cells)} cells[/bold] of preset {escape(comparison.preset)}: {counts}")
    absent = Counter((cell.table, cell.detail) for cell in comparison.cells if cell.verdict == "missing")
    if every:
        for grid in (_gains(comparison.gains), _orders(comparison), _verdicts(comparison.cells)):
            if grid.row_count:
                console.print(grid)
        for (table, detail), number in absent.items():
            console.print(escape(f"- {table}: {number} missing: {detail}"), style="dim")
    else:
        _print_first(comparison, console)
    for failure in failures:
        console.print(f"[red]failed[/red] {escape(failure.where)}: {escape(failure.why)}")
    if not every:
        console.print("`kdx2i compare --all` prints every cell, with its reason.", style="dim", highlight=False)


def _print_first(comparison: Comparison, console: Console) -> None:
    """Print the cells that may be held against the printed ones, the clearest gains, and the orders in one line."""
    comparable = [cell for cell in comparison.cells if cell.verdict in ("reproduced", "better", "worse")]
    comparable.sort(key=lambda cell: _MATTERS.index(cell.reason) if cell.reason in _MATTERS else len(_MATTERS))
    if comparable:
        console.print(_verdicts(comparable[:SHOWN], short=True))
        _count_rest(len(comparable) - SHOWN, "cells", console)
    elif comparison.cells:
        console.print(
            "No cell is held against the printed one: data, sizes, features or budgets are not the paper's. Gains over "
            "the row from scratch may be compared:",
            highlight=False,
        )
    gains = sorted((gain for gain in comparison.gains if gain.reproduced is not None), key=_urgency)
    if gains:
        console.print(_gains(gains[:SHOWN], short=True))
        _count_rest(len(gains) - SHOWN, "gains", console)
    elif not comparable:
        console.print("No row from scratch and no row of the method have both learned.", style="yellow")
    pairs = [(o.concordant, o.discordant) for o in comparison.orders if o.rows > 1]
    if pairs:
        alike, turned = (sum(numbers) for numbers in zip(*pairs, strict=True))
        console.print(f"Orders: {alike} of {alike + turned} pairs of rows stand as in the paper.", highlight=False)


def _urgency(gain: Gain) -> tuple[int, float]:
    """Return the place of a gain: against the paper beyond the noise, then with it, then what cannot be told."""
    clear = gain.low is not None and gain.high is not None and (gain.low > 0 or gain.high < 0)
    place = 2 if not clear else 0 if gain.agrees is False else 1
    return place, -abs(gain.reproduced or 0.0)


def _count_rest(number: int, what: str, console: Console) -> None:
    if number > 0:
        console.print(f"and {number} more {what}", style="dim", highlight=False)


def _grid(title: str, *headings: str) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        grid.add_column(heading, justify="right" if heading in ("here", "paper", "95% interval") else "left")
    return grid


def _where(cell: CellComparison | Gain, *, short: bool) -> list[str]:
    """Return where a number stands: in 80 columns without the table where a part tells it."""
    place = cell.part if short else f"{cell.table} {cell.part}"
    return [place, cell.dataset, marked(cell.label, cell.stage1), METRICS[cell.metric].title]


def _verdicts(cells: Sequence[CellComparison], *, short: bool = False) -> Grid:
    """Lay out the cells that have a number; the missing ones are counted by reason."""
    grid = _grid("Verdicts", "part", "dataset", "row", "metric", "here", "paper", "verdict", "reason")
    for cell in cells:
        if cell.reproduced is None:
            continue
        text = METRICS[cell.metric].text
        here = text(cell.reproduced)
        if cell.low is not None and cell.high is not None:
            here += f" ± {text((cell.high - cell.low) / 2)}"
        texts = [*_where(cell, short=short), here, cell.published or "–"]
        grid.add_row(*map(escape, texts), f"[{_COLOURS[cell.verdict]}]{cell.verdict}[/]", escape(cell.reason))
    return grid


def _orders(comparison: Comparison) -> Grid:
    """Lay out the agreement of orders, for the columns where at least two rows have both numbers."""
    headings = ("table", "dataset", "metric", "rows", "tau-b", "pairs alike/reversed/tied")
    grid = _grid("Orders: Kendall's tau-b with the paper", *headings)
    for order in comparison.orders:
        if order.rows > 1:
            tau = "undefined" if order.tau is None else f"{order.tau:+.2f}"
            pairs = f"{order.concordant}/{order.discordant}/{order.tied}"
            place = map(escape, (f"{order.table} {order.part}", order.dataset, order.metric))
            grid.add_row(*place, str(order.rows), tau, pairs)
    return grid


def _gains(gains: Sequence[Gain], *, short: bool = False) -> Grid:
    """Lay out the relative gains over the baselines, positive when better."""
    headings = ("part", "dataset", "row", "metric", "here", "95% interval", "paper", "same sign")
    grid = _grid("Gains over the row from scratch", *headings)
    for gain in gains:
        if gain.reproduced is None:
            continue
        interval = "one seed" if gain.low is None or gain.high is None else f"{gain.low:+.0%} to {gain.high:+.0%}"
        paper = "–" if gain.published is None else f"{gain.published:+.0%}"
        agrees = "–" if gain.agrees is None else ("yes" if gain.agrees else "[red]no[/red]")
        where = map(escape, _where(gain, short=short))
        grid.add_row(*where, f"{gain.reproduced:+.0%}", interval, paper, agrees)
    return grid
