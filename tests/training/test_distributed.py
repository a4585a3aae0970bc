"""Two CPU processes over gloo compute what one process computes with the joined batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import rank_worker
import torch

import kdx2i
from kdx2i.training import distributed
from kdx2i.training.checkpoint import load_tensors


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two ranks found, and the folder that they wrote to."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = os.pathsep.join([str(Path(kdx2i.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, rank_worker.__file__, str(folder), str(port)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        # Without a GPU, wherever this runs: two ranks need two.
        env={
            **os.environ,
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            "CUDA_VISIBLE_DEVICES": "",
        },
    )
    assert done.returncode == 0, done.stderr
    return folder, [torch.load(folder / f"rank{i}.pt", weights_only=True) for i in range(rank_worker.SIZE)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same in this one process."""
    folder = tmp_path_factory.mktemp("alone")
    return rank_worker.all_gradients(), rank_worker.trainings(folder), folder


def test_ranks_know_themselves_and_share_in_order(ranks):
    assert [found["rank"] for found in ranks[1]] == [(0, 2), (1, 2)]
    assert [found["share"] for found in ranks[1]] == [[0, 1, 2], [3, 4, 5]]


def test_batch_that_cannot_be_shared_is_refused(ranks):
    assert ranks[1][0]["uneven"] == "a batch of 3 cannot be shared equally by 2 processes: choose a multiple"


@pytest.mark.parametrize("what", ["method", *rank_worker.TRANSFERS])
def test_gradients_are_those_of_the_joined_batch(ranks, alone, what):
    expected = alone[0][what]
    for found in ranks[1]:
        mine = found["gradients"][what]
        assert set(mine) == set(expected)
        for optimizer, steps in expected.items():
            assert len(mine[optimizer]) == len(steps) > 0
            for theirs, ours in zip(steps, mine[optimizer], strict=True):
                whole, shared = (torch.cat([g.flatten() for g in grads]) for grads in (theirs, ours))
                assert float((whole - shared).norm()) < 1e-6 * float(whole.norm())
                for a, b in zip(theirs, ours, strict=True):
                    torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)
    # Every trained network has a gradient: the comparison is not one of zeros.
    assert all(any(bool(g.any()) for g in step) for steps in expected.values() for step in steps)


def test_both_ranks_have_the_same_gradients(ranks):
    first, second = (found["gradients"] for found in ranks[1])
    for what, optimizers in first.items():
        for name, steps in optimizers.items():
            for step, other in zip(steps, second[what][name], strict=True):
                assert all(torch.equal(a, b) for a, b in zip(step, other, strict=True))


@pytest.mark.parametrize("kind", ["method", "distillation"])
def test_ranks_end_alike_and_near_one_process(ranks, alone, kind):
    (first, second), expected = (found["trainings"][kind] for found in ranks[1]), alone[1][kind]
    assert set(first) == set(expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name, tensor in expected.items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["method", "distillation"])
def test_only_the_first_rank_writes(ranks, alone, kind):
    # On the second rank, the worker replaced what writes by what raises.
    logs = [(folder / kind / "log.jsonl").read_text().splitlines() for folder in (ranks[0], alone[2])]
    assert [line.split(",")[0] for line in logs[0]] == [line.split(",")[0] for line in logs[1]]
    names = {"checkpoint.safetensors", "checkpoint-before.safetensors", "fingerprint.json", "log.jsonl", "samples.png"}
    assert {path.name for path in (ranks[0] / kind).iterdir()} == names


def test_ranks_that_see_different_checkpoints_say_so(ranks):
    for index, found in enumerate(ranks[1]):
        folder = ranks[0] / "apart" / str(index)
        assert found["apart"] == f"the processes see different checkpoints in {folder}: they must share one folder"


def test_ranks_stop_at_the_same_step_when_one_is_asked_to(ranks):
    where = "after step 2 of 4, with a checkpoint: the same command goes on"
    assert [found["asked"] for found in ranks[1]] == [f"stopped {where}", f"stopped by SIGTERM {where}"]
    assert load_tensors(ranks[0] / "asked" / "checkpoint.safetensors")[1]["step"] == 2


@pytest.mark.parametrize("kind", ["method", "distillation"])
def test_previews_are_whole_on_every_rank(ranks, alone, kind):
    shape = alone[1][f"{kind} preview"].shape
    assert all(found["trainings"][f"{kind} preview"].shape == shape for found in ranks[1])


def test_outside_torchrun_there_is_one_process():
    joint = torch.arange(5)
    distributed.start()
    distributed.barrier()
    distributed.finish()
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert torch.equal(distributed.shard(joint), joint)
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    distributed.average_gradients([parameter])
    assert torch.equal(parameter.grad, torch.ones(2))
