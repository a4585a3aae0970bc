"""A training that is asked to stop leaves after its step, with a checkpoint, and goes on to the same bytes."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import tiny
from torch import Tensor

from kdx2i.cli.app import guarded
from kdx2i.training import stopping
from kdx2i.training.checkpoint import load_tensors
from kdx2i.training.loop import NEWEST, LoopSettings, train

ITERATIONS = 4


@pytest.fixture(autouse=True)
def interruptions_arrive() -> Iterator[None]:
    """Let Ctrl-C reach these tests, also where they run in the background of a script, which ignores it."""
    before = {one: signal.getsignal(one) for one in stopping.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


def run(kind, work, at=None, *signals):
    """Train under the handlers of a command; send this process signals in the step `at`; return the exit status."""
    trainable = tiny.BUILDERS[kind]()
    proper = trainable.training_step

    def step(number: int) -> dict[str, Tensor]:
        if number == at:
            for one in signals:
                os.kill(os.getpid(), one)
        return proper(number)

    trainable.training_step = step

    def command() -> int:
        with stopping.heeded():
            train(trainable, LoopSettings(ITERATIONS, 3, sample_every=2, log_every=1), work, kind)
        return 0

    return guarded(command)


@pytest.mark.parametrize("kind", tiny.BUILDERS)
@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_stopped_training_ends_in_the_same_bytes(tmp_path, capsys, kind, number):
    before = [signal.getsignal(one) for one in stopping.SIGNALS]
    assert run(kind, tmp_path / "whole") == 0
    work = tmp_path / "stopped"
    assert run(kind, work, 1, number) == 75
    sentence = f"stopped by {number.name} after step 2 of {ITERATIONS}, with a checkpoint: the same command goes on"
    assert capsys.readouterr().err.splitlines()[-1] == sentence
    assert load_tensors(work / NEWEST)[1]["step"] == 2
    assert run(kind, work) == 0
    assert tiny.outcome(work) == tiny.outcome(tmp_path / "whole")
    assert [signal.getsignal(one) for one in stopping.SIGNALS] == before


def test_stopped_in_its_last_step_it_has_nothing_left_to_train(tmp_path):
    assert run("method", tmp_path / "whole") == 0
    work = tmp_path / "stopped"
    assert run("method", work, ITERATIONS - 1, signal.SIGTERM) == 75
    assert run("method", work) == 0
    assert tiny.outcome(work) == tiny.outcome(tmp_path / "whole")


def test_several_signals_are_one_and_the_first_is_named(tmp_path, capsys):
    every = [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGINT, signal.SIGTERM]
    assert run("method", tmp_path, 0, *every) == 75
    assert "stopped by SIGUSR1 after step 1 of" in capsys.readouterr().err


def test_a_second_interruption_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "AGAIN", -1.0)
    assert run("method", tmp_path, 1, signal.SIGINT, signal.SIGINT) == 130
    assert not (tmp_path / NEWEST).exists()


def test_what_a_shell_ignores_stays_ignored(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run("method", tmp_path, 1, signal.SIGINT) == 0


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_outside_of_steps_it_stops_at_once(capsys, number):
    def command() -> int:
        with stopping.heeded():
            os.kill(os.getpid(), number)
            time.sleep(60)
        return 0

    assert guarded(command) == 75
    assert capsys.readouterr().err == f"stopped by {number.name}: the same command goes on\n"


def test_a_process_of_torchrun_that_has_stopped_still_says_so(monkeypatch, capsys):
    # torchrun sends SIGTERM to the others as soon as one has ended.
    monkeypatch.setenv("RANK", "0")

    def command() -> int:
        try:
            with stopping.heeded():
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert guarded(command) == 75
    assert capsys.readouterr().err == "stopped by SIGUSR1: the same command goes on\n"
