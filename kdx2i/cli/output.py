"""What a command prints, on outputs that cannot show every sign, that are full, or that nobody reads any more."""

import codecs
import io
import sys

# Of the signs that the suite prints, those that other encodings than Unicode's lack.
_PLAIN = {
    "×": "x",
    "∞": "inf",
    "↑": "^",
    "↓": "v",
    "–": "-",
    "—": "-",
    "…": "...",
    "±": "+-",
    "│": "|",
    "─": "-",
    "━": "-",
}


def print_what_can_be_shown() -> None:
    """Let standard output and error write what their encoding lacks, and names that are no Unicode, in ASCII."""
    codecs.register_error("kdx2i", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="kdx2i")


def flush() -> None:
    """Hand over what was printed; `OSError` where that cannot be done."""
    if sys.stdout is not None:
        sys.stdout.flush()


def refuses() -> OSError | None:
    """Return why standard output cannot be written, None where it can."""
    try:
        flush()
    except OSError as error:
        return error
    return None


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Return the signs that could not be encoded as ASCII, and where to go on (an error handler of `codecs`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, sign.encode("ascii", "backslashreplace").decode()) for sign in signs), error.end
