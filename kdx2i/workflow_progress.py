"""Snakemake's log on a terminal as one bar: jobs done, running and the time left, with the losses of what is training.

The Snakefile puts it in the place of Snakemake's own handler where standard output and error are terminals. A logger
plugin would need a package of its own beside this one, which Snakemake does not find in an editable install. The whole
log is in `.snakemake/log/` as ever; `snakemake --printshellcmds`, or KDX2I_PROGRESS=plain, prints it instead.
"""

import atexit
import json
import logging
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake.logging import logger

ENVIRONMENT = "KDX2I_PROGRESS"
LAST_LINES = 12
"""So many lines of a failed job's log are printed."""
LOSSES = 3
SHOWN_JOBS = 8

LossesOf = Callable[[Sequence[str]], Path | None]


def show(settings: Any, losses_of: LossesOf) -> "ProgressLog | None":
    """Put the bar in the place of Snakemake's handler, by the settings of its output, and return it; None for no bar.

    There is none where the output is no terminal, or Snakemake is asked for more, less or another log.
    """
    asked = any(getattr(settings, name) for name in ("dryrun", "printshellcmds", "verbose", "debug_dag"))
    quiet = {str(what).lower().rpartition(".")[2] for what in settings.quiet or ()} & {"all", "progress", "rules"}
    terminal = sys.stdout.isatty() and sys.stderr.isatty()
    plain = next((handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"), None)
    if asked or quiet or not terminal or plain is None or os.environ.get(ENVIRONMENT) == "plain":
        return None
    progress = ProgressLog(Console(stderr=True), plain, losses_of)
    logger.removeHandler(plain)
    logger.addHandler(progress)
    return progress


@dataclass
class _Job:
    """A job that runs: what it says of itself, its rule and log, and where its losses are written."""

    name: str
    rule: str
    logs: tuple[str, ...]
    losses: Path | None
    started: float


class ProgressLog(logging.Handler):
    """A handler of Snakemake's log: events move the bar, warnings and errors are printed above it.

    `losses_of` returns the file that a job's training logs its losses to, from the job's outputs.
    """

    def __init__(self, console: Console, plain: logging.Handler, losses_of: LossesOf) -> None:
        super().__init__()
        self.console, self.plain, self.losses_of = console, plain, losses_of
        self.done = self.total = 0
        self.waiting: Counter[str] = Counter()
        self.running: dict[int, _Job] = {}
        self.durations: dict[str, list[float]] = defaultdict(list)
        self.most_at_once = 1
        self.began = time.monotonic()
        self.live: Live | None = None
        atexit.register(self.stop)

    def emit(self, record: logging.LogRecord) -> None:
        """Follow one record of Snakemake's log."""
        event = str(getattr(record, "event", None) or "")
        follow = getattr(self, f"_on_{event}", None)
        if follow is not None:
            follow(record)
        elif self._is_worth_a_line(event, record):
            self._print(self.plain.format(record))

    def _is_worth_a_line(self, event: str, record: logging.LogRecord) -> bool:
        """Whether a record is for the reader: a warning, an error, or that there is nothing to do.

        That a command failed says nothing beside the last lines of its job, which are printed anyway.
        """
        message = record.getMessage()
        if event:
            return event in ("error", "group_error") and "CalledProcessError" not in message
        return record.levelno >= logging.WARNING or message.startswith("Nothing to be done")

    def _on_run_info(self, record: Any) -> None:
        counts = {rule: int(count) for rule, count in record.stats.items() if rule != "total"}
        self.waiting = Counter(counts)
        self.total = sum(counts.values())
        if self.live is None and self.total:
            self.live = Live(
                get_renderable=self.picture,
                console=self.console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self.live.start()

    def _on_job_info(self, record: Any) -> None:
        name = str(record.rule_msg or record.rule_name)
        losses_at = self.losses_of(tuple(map(str, record.output)))
        self.running[record.jobid] = _Job(name, record.rule_name, tuple(record.log), losses_at, time.monotonic())
        self.most_at_once = max(self.most_at_once, len(self.running))

    def _on_job_finished(self, record: Any) -> None:
        job = self.running.pop(record.job_id, None)
        if job is not None:
            self.durations[job.rule].append(time.monotonic() - job.started)
            self.waiting[job.rule] -= 1

    def _on_job_error(self, record: Any) -> None:
        job = self.running.pop(record.jobid, None)
        name = record.rule_name if job is None else job.name
        lines = [f"[red]failed:[/red] {escape(name)}"]
        for log in tuple(record.log) or (() if job is None else job.logs):
            place = Path(str(log).removesuffix(" (check log file(s) for error details)"))
            lines += [f"  [dim]{escape(line)}[/dim]" for line in last_lines(place)]
            lines.append(f"  log: {escape(str(place))}")
        self._print("\n".join(lines), markup=True)

    def _on_progress(self, record: Any) -> None:
        self.done, self.total = record.done, record.total
        if self.done >= self.total:
            self.stop()

    def _print(self, text: str, *, markup: bool = False) -> None:
        if text:
            self.console.print(text, markup=markup, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away, and say in one line what was done; afterwards lines are printed as they come."""
        live, self.live = self.live, None
        if live is not None:
            live.stop()
            took = duration(time.monotonic() - self.began)
            self._print(f"{self.done} of {self.total} jobs done in {took}")

    def picture(self) -> Group:
        """Return the bar and the jobs that run, as they are now."""
        left = self.time_left()
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True, justify="right")
        counts = f"{self.done}/{self.total} jobs, {len(self.running)} running"
        ends = duration(time.monotonic() - self.began) + ("" if left is None else f", about {duration(left)} left")
        line.add_row(counts, ProgressBar(self.total or 1, self.done), ends)
        jobs = list(self.running.values())
        lines = [Text(f"  {job.name}{losses(job.losses)}", no_wrap=True, overflow="ellipsis") for job in jobs]
        more = [Text(f"  and {len(jobs) - SHOWN_JOBS} more", style="dim")] if len(jobs) > SHOWN_JOBS else []
        return Group(line, *lines[:SHOWN_JOBS], *more)

    def time_left(self) -> float | None:
        """Return the seconds that are left if jobs take as long as those of their rule so far; None before the first.

        A rule of which none has ended is taken for as long as all others on average.
        """
        every = [seconds for ended in self.durations.values() for seconds in ended]
        if not every:
            return None
        typical = sum(every) / len(every)
        mean = {rule: sum(ended) / len(ended) for rule, ended in self.durations.items()}
        work = sum(count * mean.get(rule, typical) for rule, count in self.waiting.items() if count > 0)
        now = time.monotonic()
        work -= sum(min(now - job.started, mean.get(job.rule, typical)) for job in self.running.values())
        return max(work, 0.0) / self.most_at_once


def duration(seconds: float) -> str:
    """Write a time: `45 s`, `12 min`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def losses(path: Path | None) -> str:
    """Return the step and the first losses that a training has logged last; empty while there are none."""
    written = last_lines(path) if path is not None else []
    try:
        values = json.loads(written[-1]) if written else {}
    except ValueError:  # the line is being written
        return ""
    if not isinstance(values, dict) or "step" not in values:
        return ""
    numbers = [(name, value) for name, value in values.items() if name != "step" and isinstance(value, int | float)]
    return f": step {values['step']}" + "".join(f", {name} {value:.3g}" for name, value in numbers[:LOSSES])


def last_lines(path: Path) -> list[str]:
    """Return the last lines of a job's log that are not empty; a log that is not there has none."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(path.stat().st_size - 2**14, 0))
            text = handle.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-LAST_LINES:]
