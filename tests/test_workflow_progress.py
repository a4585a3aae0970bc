"""The bar of a workflow: it counts what Snakemake reports, shows losses, and says at once why a job failed."""

import io
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from repository import settings_copy
from rich.console import Console
from snakemake.logging import logger

from kdx2i import workflow_progress
from kdx2i.suite import make_plan
from kdx2i.workflow import Results
from kdx2i.workflow_progress import LAST_LINES, ProgressLog, duration, last_lines, losses

SETTINGS = SimpleNamespace(dryrun=False, printshellcmds=False, verbose=False, debug_dag=False, quiet=None)


class Bar:
    """A progress log on a made-up terminal of 80 columns."""

    def __init__(self, losses_of: Any = lambda outputs: None) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, width=80, force_terminal=True, color_system=None)
        self.log = ProgressLog(console, logging.StreamHandler(), losses_of)

    def tell(self, event: str | None, level: int = logging.INFO, message: str = "", **facts: Any) -> None:
        record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
        for name, value in {"event": event, **facts}.items():
            setattr(record, name, value)
        self.log.handle(record)

    def start(self, jobid: int, rule: str = "train", **facts: Any) -> None:
        given = {"rule_msg": f"{rule} {jobid}", "rule_name": rule, "log": [], "output": [], **facts}
        self.tell("job_info", jobid=jobid, **given)

    def picture(self) -> str:
        buffer = io.StringIO()
        Console(file=buffer, width=80).print(self.log.picture())
        return buffer.getvalue()


def test_jobs_are_counted_and_what_trains_shows_its_losses(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    bar = Bar(lambda outputs: path if outputs == ("run/log.jsonl",) else None)
    bar.tell("run_info", stats={"train": 2, "evaluate": 2, "total": 4})
    bar.start(1, output=["run/log.jsonl"])
    bar.start(2, "evaluate")
    assert "0/4 jobs, 2 running" in bar.picture()
    assert "train 1\n" in bar.picture().replace(" \n", "\n").replace("  ", "") + "\n"
    path.write_text('{"step": 10, "adv": 1.25, "sty": 0.5, "ds": 0.125, "cyc": 9}\n')
    assert "train 1: step 10, adv 1.25, sty 0.5, ds 0.125" in bar.picture()
    assert "cyc" not in bar.picture()
    assert "left" not in bar.picture()
    bar.tell("job_finished", job_id=1)
    bar.tell("progress", done=1, total=4)
    assert "1/4 jobs, 1 running" in bar.picture()
    assert "left" in bar.picture()
    assert max(map(len, bar.picture().splitlines())) <= 80
    bar.tell("progress", done=4, total=4)
    assert bar.log.live is None
    assert "4 of 4 jobs done in 0 s" in bar.file.getvalue()


def test_the_time_left_is_that_of_jobs_of_the_same_rule_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("kdx2i.workflow_progress.time.monotonic", lambda: clock.now)
    bar = Bar()
    bar.log.waiting.update({"train": 4, "table": 1})
    for jobid in (1, 2):
        bar.log._on_job_info(SimpleNamespace(jobid=jobid, rule_msg="x", rule_name="train", log=[], output=[]))
    assert bar.log.time_left() is None
    clock.now = 100.0
    for jobid in (1, 2):
        bar.tell("job_finished", job_id=jobid)
    # Two trainings of 100 s are left, two at once, and a table that is taken for as long as the others on average.
    assert bar.log.time_left() == pytest.approx((2 * 100 + 100) / 2)
    bar.log._on_job_info(SimpleNamespace(jobid=3, rule_msg="x", rule_name="train", log=[], output=[]))
    clock.now = 140.0
    assert bar.log.time_left() == pytest.approx((2 * 100 + 100 - 40) / 2)


def test_a_failed_job_shows_its_last_lines_and_its_log_at_once(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("".join(f"line {number}\n\n" for number in range(40)) + "error: no space [left]\n")
    bar = Bar()
    bar.tell("run_info", stats={"train": 1})
    bar.start(1, log=[str(path)])
    bar.tell("job_error", logging.ERROR, jobid=1, rule_name="train", log=[str(path)])
    text = bar.file.getvalue()
    assert "failed: train 1" in text
    assert "error: no space [left]" in text
    assert f"log: {path}" in text
    assert "line 39" in text and "line 3\n" not in text
    assert "0 running" in bar.picture()
    bar.log.stop()


def test_warnings_are_printed_and_chatter_is_not() -> None:
    bar = Bar()
    bar.tell(None, message="Building DAG of jobs...")
    bar.tell("shellcmd", message="Shell command: x")
    assert bar.file.getvalue() == ""
    bar.tell(None, message="Nothing to be done (all requested files are present and up to date).")
    bar.tell(None, logging.WARNING, "a clock is wrong")
    bar.tell("error", logging.ERROR, "it failed")
    bar.tell("error", logging.ERROR, "RuleException:\nCalledProcessError in file x, line 31")
    assert "CalledProcessError" not in bar.file.getvalue()
    for words in ("Nothing to be done", "a clock is wrong", "it failed"):
        assert words in bar.file.getvalue()


def test_many_jobs_are_counted_below_those_that_are_shown() -> None:
    bar = Bar()
    for jobid in range(12):
        bar.start(jobid)
    assert "and 4 more" in bar.picture()


@pytest.mark.parametrize("text", ["", "{", '{"step": 1', "[1]\n", '{"loss": 1}\n', "no json\n"])
def test_a_log_that_is_being_written_shows_no_losses(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.jsonl"
    assert losses(path) == losses(None) == ""
    path.write_text(text)
    assert losses(path) == ""


def test_only_the_end_of_a_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"\xff" * 10 + b"a long line\n" * 10000 + b"the end")
    assert last_lines(path)[-1] == "the end"
    assert len(last_lines(path)) == LAST_LINES
    assert last_lines(tmp_path / "none") == []


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (12000, "3 h 20 min")])
def test_times_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def terminal(monkeypatch: pytest.MonkeyPatch) -> logging.Handler:
    """Make up a terminal, and Snakemake's own handler, which is returned."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(workflow_progress.sys, name, SimpleNamespace(isatty=lambda: True, write=print))
    plain = logging.StreamHandler(io.StringIO())
    plain.name = "DefaultStreamHandler"
    monkeypatch.setattr(logger, "handlers", [plain])
    monkeypatch.delenv("KDX2I_PROGRESS", raising=False)
    return plain


def test_a_terminal_gets_the_bar_in_the_place_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    bar = workflow_progress.show(SETTINGS, lambda outputs: None)
    assert bar is not None
    assert logger.handlers == [bar]


@pytest.mark.parametrize("asked", ["dryrun", "printshellcmds", "verbose", "debug_dag", "quiet", "variable", "file"])
def test_the_plain_log_stays_where_it_is_asked_for_or_no_terminal_is_there(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    plain = terminal(monkeypatch)
    settings = SimpleNamespace(**vars(SETTINGS))
    if asked == "variable":
        monkeypatch.setenv("KDX2I_PROGRESS", "plain")
    elif asked == "file":
        monkeypatch.setattr(workflow_progress.sys, "stdout", io.StringIO())
    else:
        setattr(settings, asked, ["all"] if asked == "quiet" else True)
    assert workflow_progress.show(settings, lambda outputs: None) is None
    assert logger.handlers == [plain]


def test_the_losses_of_a_job_are_where_its_training_writes_them(tmp_path: Path) -> None:
    plan = make_plan(settings_copy(tmp_path), "open-smoke")
    results = Results(plan, list)
    run = plan.run("open-birds", "stargan_v2", "kd", 32, 0)
    assert results.losses_of([path.as_posix() for path in run.paths]) == run.work / "log.jsonl"
    assert results.losses_of([path.as_posix() for path in plan.rendered("table1").paths]) is None
    assert results.losses_of(["results/elsewhere/log.jsonl", "results/elsewhere/provenance.json"]) is None
