"""The option `--json` of commands: what they found as JSON, in a file or on standard output."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kdx2i.cli.options import path_of
from kdx2i.errors import UserError
from kdx2i.files import write_bytes

STANDARD_OUTPUT = Path("-")
Json = Annotated[
    Path | None,
    typer.Option("--json", parser=path_of("--json"), help="File for what was found as JSON; - is standard output."),
]


class Report:
    """What a command found: `document` is written when the command ends, also with another status than 0."""

    document: Any = None


@contextlib.contextmanager
def reporting(path: Path | None) -> Iterator[Report]:
    """Write a command's report to `path` when it ends.

    With `-` the report is all that standard output gets: what the command prints for people goes to standard error.
    A file that cannot be written raises `UserError`.
    """
    report = Report()
    if path is None:
        yield report
        return
    try:
        with people_on_standard_error(path):
            yield report
    finally:
        if report.document is not None:
            _write(path, report.document)


@contextlib.contextmanager
def people_on_standard_error(path: Path | None) -> Iterator[None]:
    """Let what is printed for people go to standard error where `path` is `-`."""
    with contextlib.redirect_stdout(sys.stderr) if path == STANDARD_OUTPUT else contextlib.nullcontext():
        yield


def _write(path: Path, document: Any) -> None:
    """Write JSON; names that are no UTF-8 are escaped as JSON escapes them."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if path == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    try:
        write_bytes(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UserError(f"--json {path} could not be written: {error.strerror}") from None
