"""Stopping a training at the end of a step, with a checkpoint, where the process is asked to by a signal.

SIGTERM is what a scheduler sends before it kills, SIGUSR1 what Slurm sends some time before a limit
(`sbatch --signal=USR1@300`), SIGINT what Ctrl-C sends.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from kdx2i.devices import under_torchrun

EXIT_STATUS = 75
"""What a stopped command ends with: EX_TEMPFAIL of sysexits.h."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
AGAIN = 1.0
"""Seconds after which another SIGINT is not the same Ctrl-C, which may arrive several times, and ends the process."""


class Stopped(BaseException):
    """The process was asked to stop, and the same command goes on; `where` it stopped is for people."""

    def __init__(self, where: str = "") -> None:
        by = f" by {_state.by.name}" if _state.by is not None else ""
        super().__init__(" ".join(["stopped" + by, *([where] if where else [])]) + ": the same command goes on")


class _State:
    """What this process was asked: by which signal, since when, and whether a step is running."""

    by: signal.Signals | None = None
    since = 0.0
    in_a_step = False


_state = _State()


def asked() -> bool:
    """Tell whether this process has been asked to stop."""
    return _state.by is not None


@contextmanager
def heeded() -> Iterator[None]:
    """Let the signals stop the training in this block: after its step, where it has begun, else at once.

    `Stopped` is raised then. Belongs into the main thread. Ctrl-C stays ignored where a shell has it ignored, as it
    does for what a script starts in the background. A process of torchrun that has stopped ignores them from then on.
    """
    spared = {signal.SIGINT} if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, _stop) for number in SIGNALS if number not in spared}
    try:
        yield
    except Stopped:
        if under_torchrun():
            # torchrun asks the others to end as soon as one has: this one is ending, and has still to say so.
            before = dict.fromkeys(before, signal.SIG_IGN)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.by = None


@contextmanager
def after_the_step() -> Iterator[None]:
    """Let the signals only be noted in this block, which asks for them by `asked`."""
    _state.in_a_step = True
    try:
        yield
    finally:
        _state.in_a_step = False


def _stop(number: int, _frame: FrameType | None) -> None:
    """Note a signal, or stop at once."""
    now = time.monotonic()
    if number == signal.SIGINT and _state.by == signal.SIGINT and now - _state.since > AGAIN:
        raise KeyboardInterrupt
    if _state.by is None:
        _state.by, _state.since = signal.Signals(number), now
        if not _state.in_a_step:
            raise Stopped
