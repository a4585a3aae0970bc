"""Tables and comparisons on the screen, with rich."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.tables.layout import Block, blocks, notes, stand_in_line
from kdx2i.tables.model import Table
from kdx2i.tables.published import Published

# Width of the grids where the output is no terminal (a log file), in characters.
FILE_WIDTH = 150


def print_table(table: Table, published: Published, console: Console) -> None:
    """Print each block with reproduced values beside the printed ones, then the notes."""
    console.print(f"[bold]{escape(table.title)}[/bold]")
    warning = stand_in_line(table)
    if warning:
        console.print(f"[yellow]{escape(warning)}[/yellow]")
    for block in blocks(table, published):
        console.print(_grid(block), width=None if console.is_terminal else max(console.width, FILE_WIDTH))
    for note in notes(table, published):
        if note != warning:
            console.print(escape(f"- {note}"), style="dim")


def _grid(block: Block) -> Grid:
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
