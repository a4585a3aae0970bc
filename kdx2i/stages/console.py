"""The console that stages print on; alone, so that what only prints imports no plots and no statistics."""

from rich.console import Console

# Where the output is no terminal (a log, a pipe) a table has this many columns of characters.
FILE_WIDTH = 160


def screen() -> Console:
    """Return the console that tables are printed on: as wide as the terminal, or as a file may be."""
    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)
