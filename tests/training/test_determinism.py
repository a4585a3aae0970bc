"""Seeds are functions of run, purpose and step; the device and the threads are what they should be."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdx2i.training.determinism import (
    derive_seed,
    describe_device,
    generator,
    make_deterministic,
    pick_device,
    seed_step,
)


def test_seed_is_the_same_on_every_machine():
    # The bytes of results depend on this value: a change of it is a change of every result.
    assert derive_seed(0, "step", 17) == 8631850913368571698


@given(st.integers(0, 2**31), st.integers(0, 10**6), st.sampled_from(["step", "initialise", "evaluate"]))
def test_seeds_are_accepted_by_torch_and_differ_by_purpose(seed, step, purpose):
    value = derive_seed(seed, purpose, step)
    assert 0 <= value < 2**63
    assert value != derive_seed(seed, purpose, step + 1)
    assert value != derive_seed(seed + 1, purpose, step)
    assert value != derive_seed(seed, f"{purpose}!", step)
    torch.Generator().manual_seed(value)


def test_steps_draw_independently_of_what_was_drawn_before():
    seed_step(3, 7)
    first = torch.randn(4)
    torch.randn(100)
    seed_step(3, 7)
    assert torch.equal(first, torch.randn(4))
    seed_step(3, 8)
    assert not torch.equal(first, torch.randn(4))


def test_generator_leaves_the_global_one_alone():
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    drawn = torch.randn(5, generator=generator(1, "split"))
    assert torch.equal(torch.randn(3), expected)
    assert torch.equal(drawn, torch.randn(5, generator=generator(1, "split")))


@pytest.mark.parametrize(("given_threads", "expected"), [("2", 2), ("", 1), (None, 1), ("0", 1)])
def test_threads_follow_the_environment(monkeypatch, given_threads, expected):
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if given_threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given_threads)
    try:
        make_deterministic()
        assert torch.get_num_threads() == expected
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def test_device_is_named():
    device = pick_device()
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert describe_device(torch.device("cpu")).startswith("cpu: ")
    if device.type == "cuda":
        assert device.index == int(os.environ.get("LOCAL_RANK", "0"))
        assert describe_device(device).startswith("cuda: ")
