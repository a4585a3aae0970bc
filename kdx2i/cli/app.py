"""The application that all commands belong to, and how it ends."""

import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from kdx2i.cli import output
from kdx2i.cli.refusals import refusal
from kdx2i.errors import UserError
from kdx2i.stages.console import mute
from kdx2i.training.stopping import EXIT_STATUS, Stopped
from kdx2i.version import version_text

app = typer.Typer(
    name="kdx2i",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED, UNREAD = 130, 141  # as a shell has it: 128 and the number of the signal

# Typer carries its own copy of Click: the base of what it raises for a mistake on the command line.
UsageMistake: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _print_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        print(version_text())
        raise typer.Exit


@app.callback()
def suite(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Reproduce 'Distilling GANs with style-mixed triplets for X2I translation with limited data'."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return guarded(lambda: app(args=None if argv is None else list(argv), prog_name="kdx2i", standalone_mode=False))


def guarded(command: Callable[[], Any]) -> int:
    """Run a command and return its exit status.

    A user's mistake, and what the machine refuses (`kdx2i.cli.refusals`), become one sentence on stderr and 2, an
    interruption 130, a training that was asked to stop 75 (`kdx2i.training.stopping`); 141 means that nobody reads what
    it prints any more, as if SIGPIPE had ended it.
    """
    output.print_what_can_be_shown()
    console = Console(stderr=True)
    try:
        status = command()
        output.flush()
    except UserError as error:
        if output.refuses() is not None:
            mute()
        console.print(f"[red]error:[/red] {escape(' '.join(str(error).split()))}", highlight=False, soft_wrap=True)
        return 2
    except UsageMistake as error:
        error.show()
        return int(error.exit_code)
    except Stopped as stop:
        if os.environ.get("RANK", "0") == "0":  # Of the processes of torchrun one speaks.
            console.print(str(stop), highlight=False, markup=False, soft_wrap=True)
        return EXIT_STATUS
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        status = UNREAD
    except BrokenPipeError:
        status = UNREAD
    except Exception as error:
        full = output.refuses() if isinstance(error, OSError) else None
        sentence = refusal(error) if full is None else f"the standard output cannot be written: {full.strerror}"
        if sentence is None:
            raise
        if full is not None:
            mute()
        console.print(f"[red]error:[/red] {escape(sentence)}", highlight=False, soft_wrap=True)
        return 2
    if status == UNREAD:
        mute()
    if status == INTERRUPTED:
        # Typer makes an exit status of an interruption, and says nothing.
        console.print("interrupted", highlight=False)
    return status if isinstance(status, int) else 0
