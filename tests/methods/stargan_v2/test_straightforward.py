"""The suite's iteration and the straightforward formulation of it, which the speed benchmark measures, agree."""

import importlib
import sys

import pytest
import tiny
import torch
from repository import ROOT


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "speed"))
    yield importlib.import_module("stargan_step")
    sys.modules.pop("stargan_step", None)


@pytest.mark.parametrize("seed", [0, 1])
def test_both_iterations_have_the_same_losses(benchmark_module, seed):
    torch.manual_seed(seed)
    method = tiny.method(batch=4)
    plain = benchmark_module.Straightforward(method)
    results = []
    with benchmark_module.held(method.optimizers, plain.optimizers):
        for subject in (method, plain):
            torch.manual_seed(100 + seed)
            results.append({name: float(value.detach()) for name, value in subject.training_step(0).items()})
    assert results[0] == pytest.approx(results[1], abs=1e-5)
    assert len(results[0]) == 10


def test_both_learn_the_same(benchmark_module):
    """After a step from equal weights the objectives are equal too, but for directions without any gradient."""
    method = tiny.method(batch=4)
    plain = benchmark_module.Straightforward(method)
    results = []
    for subject in (method, plain):
        for step in range(2):
            torch.manual_seed(step)
            last = subject.training_step(step)
        results.append({name: float(value.detach()) for name, value in last.items()})
    assert results[0] == pytest.approx(results[1], abs=1e-4)
