"""Tables and comparisons on the screen, with rich."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.comparison import VERDICTS, Comparison
from kdx2i.tables.expectations import Failure
from kdx2i.tables.layout import TableBlock, notes, stand_in_line, table_blocks
from kdx2i.tables.model import Table, marked
from kdx2i.tables.published import Published

# Width of the grids where the output is no terminal (a log file), in characters.
FILE_WIDTH = 150
_COLOURS = {
    "reproduced": "green",
    "better": "cyan",
    "worse": "red",
    "missing": "yellow",
    "not learned": "yellow",
    "not comparable": "dim",
}


def print_table(table: Table, published: Published, console: Console) -> None:
    """Print each block with reproduced values beside the printed ones, then the notes."""
    console.print(f"[bold]{escape(table.title)}[/bold]")
    warning = stand_in_line(table)
    if warning:
        console.print(f"[yellow]{escape(warning)}[/yellow]")
    for block in table_blocks(table, published):
        console.print(_grid(block), width=None if console.is_terminal else max(console.width, FILE_WIDTH))
    for note in notes(table, published):
        if note != warning:
            console.print(escape(f"- {note}"), style="dim")


def _grid(block: TableBlock) -> Grid:
    """Lay one block out: the paper's columns dimmed, the controls below a line."""
    grid = Grid(title=escape(block.title), title_justify="left", title_style="bold")
    grid.add_column("Method", no_wrap=True)
    grid.add_column("px", no_wrap=True)
    for metric in block.metrics:
        grid.add_column(escape(metric), justify="right")
        grid.add_column("paper", justify="right", style="dim")
    grid.add_column("real/generated", style="dim")
    methods = sum(not line.control for line in block.lines)
    for number, line in enumerate(block.lines, start=1):
        here = [cell for cell, _ in line.cells]
        alike = line.absent and len(set(here)) == 1
        values = [escape(text) for cell, paper in line.cells for text in ("…" if alike else cell, paper)]
        ending = here[0] if alike else line.counts
        style = "italic" if line.control else None
        last = number == methods
        grid.add_row(escape(line.label), line.pixels, *values, ending, style=style, end_section=last)
    return grid


def print_comparison(comparison: Comparison, console: Console, failures: Sequence[Failure] = ()) -> None:
    """Print the verdicts, orders and gains of a comparison, and the expectations that failed."""
    width = None if console.is_terminal else max(console.width, FILE_WIDTH)
    for grid in (_gains(comparison), _orders(comparison), _verdicts(comparison)):
        if grid.row_count:
            console.print(grid, width=width)
    counts = ", ".join(f"{comparison.count(name)} {name}" for name in VERDICTS)
    console.print(f"[bold]{len(comparison.cells)} cells[/bold] of preset {escape(comparison.preset)}: {counts}")
    absent = Counter((cell.table, cell.detail) for cell in comparison.cells if cell.verdict == "missing")
    for (table, detail), number in absent.items():
        console.print(escape(f"- {table}: {number} missing: {detail}"), style="dim")
    for failure in failures:
        console.print(f"[red]failed[/red] {escape(failure.where)}: {escape(failure.why)}")


def _verdicts(comparison: Comparison) -> Grid:
    """Lay out the cells that have a number; the missing ones are counted by reason below."""
    grid = Grid(title="Verdicts", title_justify="left", title_style="bold")
    for heading in ("table", "dataset", "row", "metric", "here", "paper", "verdict", "reason"):
        grid.add_column(heading, justify="right" if heading in ("here", "paper") else "left")
    for cell in comparison.cells:
        if cell.reproduced is None:
            continue
        here = METRICS[cell.metric].text(cell.reproduced)
        if cell.low is not None and cell.high is not None:
            here += f" ± {METRICS[cell.metric].text((cell.high - cell.low) / 2)}"
        row = marked(cell.label, cell.stage1)
        place = [f"{cell.table} {cell.part}", cell.dataset, row, cell.metric, here, cell.published or "–"]
        grid.add_row(*map(escape, place), f"[{_COLOURS[cell.verdict]}]{cell.verdict}[/]", escape(cell.reason))
    return grid


def _orders(comparison: Comparison) -> Grid:
    """Lay out the agreement of orders, for the columns where at least two rows have both numbers."""
    grid = Grid(title="Orders: Kendall's tau-b with the paper", title_justify="left", title_style="bold")
    for heading in ("table", "dataset", "metric", "rows", "tau-b", "pairs alike/reversed/tied"):
        grid.add_column(heading)
    for order in comparison.orders:
        if order.rows > 1:
            tau = "undefined" if order.tau is None else f"{order.tau:+.2f}"
            pairs = f"{order.concordant}/{order.discordant}/{order.tied}"
            place = map(escape, (f"{order.table} {order.part}", order.dataset, order.metric))
            grid.add_row(*place, str(order.rows), tau, pairs)
    return grid


def _gains(comparison: Comparison) -> Grid:
    """Lay out the relative gains over the baselines, positive when better."""
    grid = Grid(title="Gains over the row from scratch", title_justify="left", title_style="bold")
    for heading in ("table", "dataset", "row", "metric", "here", "95% interval", "paper", "same sign"):
        grid.add_column(heading, justify="right" if heading in ("here", "paper") else "left")
    for gain in comparison.gains:
        if gain.reproduced is None:
            continue
        interval = "one seed" if gain.low is None or gain.high is None else f"{gain.low:+.1%} to {gain.high:+.1%}"
        paper = "–" if gain.published is None else f"{gain.published:+.1%}"
        agrees = "–" if gain.agrees is None else ("yes" if gain.agrees else "no")
        place = map(escape, (f"{gain.table} {gain.part}", gain.dataset, marked(gain.label, gain.stage1), gain.metric))
        grid.add_row(*place, f"{gain.reproduced:+.1%}", interval, paper, agrees)
    return grid
