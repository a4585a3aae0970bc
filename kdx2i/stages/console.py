"""The console that stages print on; alone, so that what only prints imports no plots and no statistics."""

import os
import sys

from rich.console import Console

# Where the output is no terminal (a log, a pipe) a table has this many columns of characters.
FILE_WIDTH = 160
TERMINAL_WIDTH = 80
"""The columns that what a person reads at the end of a command is laid out for, whatever the terminal has."""


class Screen(Console):
    """A console whose caller decides what it means that nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Raise `BrokenPipeError` instead of ending the process."""
        raise BrokenPipeError


def screen() -> Console:
    """Return the console that tables are printed on: as wide as the terminal, or as a file may be."""
    console = Screen()
    return console if console.is_terminal else Screen(width=FILE_WIDTH)


def terminal_screen() -> Console:
    """Return the console for what is laid out for 80 columns, on any terminal and in a file."""
    console = Screen()
    return Screen(width=min(console.width, TERMINAL_WIDTH) if console.is_terminal else TERMINAL_WIDTH)


def mute() -> None:
    """Drop what is still to be printed on standard output, which cannot be written."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # None, closed, or no file at all
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
