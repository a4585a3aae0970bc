"""The loop: averages, logs, grids, and runs that end in the same bytes whenever they were interrupted."""

import contextlib
import io
import json
import shutil

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from kdx2i.errors import UserError
from kdx2i.training import loop
from kdx2i.training.checkpoint import load_tensors, save_checkpoint
from kdx2i.training.loop import BEFORE, NEWEST, LoopSettings, save_grid, train, update_averages
from kdx2i.training.optimizers import step_optimizers

ITERATIONS = 5
PROPERTY = settings(max_examples=6, deadline=None, derandomize=True)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """What each kind of training leaves when nothing interrupts it, by kind and log interval."""
    made = {}

    def outcome(kind, log_every):
        if (kind, log_every) not in made:
            work = tmp_path_factory.mktemp(f"{kind}{log_every}")
            tiny.run(kind, work, ITERATIONS, log_every=log_every)
            made[kind, log_every] = tiny.outcome(work)
        return made[kind, log_every]

    return outcome


@pytest.mark.parametrize("kind", tiny.BUILDERS)
@PROPERTY
@given(
    stops=st.lists(st.integers(0, ITERATIONS - 1), min_size=1, max_size=2).map(sorted),
    every=st.integers(1, 3),
    log_every=st.sampled_from([1, 2]),
)
def test_interrupted_training_ends_in_the_same_bytes(tmp_path_factory, whole, kind, stops, every, log_every):
    work = tmp_path_factory.mktemp("stopped")
    for stop in stops:
        with pytest.raises(tiny.Interruption):
            tiny.run(kind, work, ITERATIONS, stop_at=stop, checkpoint_every=every, log_every=log_every)
    tiny.run(kind, work, ITERATIONS, checkpoint_every=every, log_every=log_every)
    assert tiny.outcome(work) == whole(kind, log_every)


@pytest.mark.parametrize("kind", tiny.BUILDERS)
def test_longer_budget_goes_on_where_the_shorter_ended(tmp_path, whole, kind):
    tiny.run(kind, tmp_path, 3)
    tiny.run(kind, tmp_path, ITERATIONS)
    assert tiny.outcome(tmp_path) == whole(kind, 1)


def test_finished_training_is_not_changed_by_another_start(tmp_path, whole):
    tiny.run("method", tmp_path, ITERATIONS)
    written = (tmp_path / "checkpoint.safetensors").stat().st_mtime_ns
    tiny.run("method", tmp_path, ITERATIONS)
    assert tiny.outcome(tmp_path) == whole("method", 1)
    assert (tmp_path / "checkpoint.safetensors").stat().st_mtime_ns == written


def test_another_seed_ends_elsewhere(tmp_path):
    works = []
    for seed in (0, 1):
        works.append(tmp_path / str(seed))
        train(tiny.distillation(), LoopSettings(2, seed), works[-1], "x")
    assert tiny.outcome(works[0])["checkpoint.safetensors"] != tiny.outcome(works[1])["checkpoint.safetensors"]


class Counting(nn.Module):
    """A network with a buffer that follows the training."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros([], dtype=torch.int64))


class Simple:
    """A trainable whose losses are given."""

    def __init__(self, losses=None):
        torch.manual_seed(0)
        self.networks = {"net": Counting()}
        self.averages = {"net": Counting().requires_grad_(False)}
        self.optimizers = {"net": torch.optim.SGD(self.networks["net"].parameters(), lr=0.1)}
        self.losses = losses or {}
        self.restored = None

    def training_step(self, step):
        network = self.networks["net"]
        network.seen += 1
        loss = network.linear(torch.randn(3, 2)).square().mean()
        step_optimizers(loss, self.optimizers["net"])
        return {"loss": self.losses.get(step, loss), "third": torch.tensor(1 / 3)}

    def ema_decay(self, step):
        return 0.75

    def preview(self):
        return torch.zeros(4, 3, 8, 8), 2

    def scalars(self):
        return {"kept": 0.1 + 0.2}

    def restore_scalars(self, values):
        self.restored = values["kept"]


def test_averages_follow_by_the_decay_and_copy_buffers():
    trainable = Simple()
    network, average = trainable.networks["net"], trainable.averages["net"]
    network.seen += 41
    start = [p.clone() for p in average.parameters()]
    update_averages(trainable, 0.75)
    for before, target, source in zip(start, average.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(target, 0.75 * before + 0.25 * source, rtol=1e-6, atol=1e-7)
    assert int(average.seen) == 41
    update_averages(trainable, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), network.parameters(), strict=True))
    frozen = [p.clone() for p in average.parameters()]
    with torch.no_grad():
        network.linear.weight += 1
    update_averages(trainable, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(frozen, average.parameters(), strict=True))


def test_a_network_of_buffers_alone_is_averaged_by_copying():
    trainable = Simple()
    fixed = {name: torch.nn.Module() for name in ("network", "average")}
    for value, module in enumerate(fixed.values()):
        module.register_buffer("factor", torch.tensor(float(value)))
    trainable.networks = {**trainable.networks, "fixed": fixed["network"]}
    trainable.averages = {**trainable.averages, "fixed": fixed["average"]}
    update_averages(trainable, 0.75)
    assert float(fixed["average"].factor) == 0.0


def test_averages_over_a_run_are_the_recursion(tmp_path):
    trainable = Simple()
    history, expected = [], trainable.averages["net"].linear.weight.clone()
    proper = trainable.training_step

    def watched(step):
        scalars = proper(step)
        history.append(trainable.networks["net"].linear.weight.detach().clone())
        return scalars

    trainable.training_step = watched
    train(trainable, LoopSettings(6, 0), tmp_path, "x")
    for weight in history:
        expected = 0.75 * expected + 0.25 * weight
    torch.testing.assert_close(trainable.averages["net"].linear.weight, expected)
    assert int(trainable.averages["net"].seen) == 6


def test_loss_moves_only_the_parameters_of_its_optimisers():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = torch.optim.SGD(a.parameters(), lr=0.5)
    before = [p.clone() for p in (*a.parameters(), *b.parameters())]
    x = torch.randn(3, 2)
    loss = b(a(x)).square().mean()
    expected = torch.autograd.grad(loss, a.weight, retain_graph=True)[0]
    step_optimizers(loss, optimizer)
    torch.testing.assert_close(a.weight, before[0] - 0.5 * expected)
    assert torch.equal(b.weight, before[2])
    assert torch.equal(b.bias, before[3])
    assert all(p.grad is None for p in (*a.parameters(), *b.parameters()))


def test_unused_parameters_are_left_alone():
    used, unused = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = torch.optim.Adam([*used.parameters(), *unused.parameters()], lr=0.1, weight_decay=0.1)
    before = unused.weight.clone()
    step_optimizers(used(torch.ones(1, 2)).sum(), optimizer)
    assert torch.equal(unused.weight, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_diverged_loss_names_step_and_log(tmp_path, value):
    trainable = Simple({2: torch.tensor(value)})
    with pytest.raises(UserError, match=r"loss is not finite at step 2.*log\.jsonl"):
        train(trainable, LoopSettings(5, 0, log_every=1), tmp_path, "x")
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1]


def test_log_has_the_asked_steps_and_the_last(tmp_path):
    train(Simple(), LoopSettings(8, 0, log_every=3), tmp_path, "x")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 3, 6, 7]
    assert all(set(line) == {"step", "loss", "third"} for line in lines)
    assert lines[0]["third"] == 0.333333


def test_half_written_line_and_lines_after_the_checkpoint_are_dropped(tmp_path):
    settings_ = LoopSettings(6, 0, checkpoint_every=2, log_every=1)
    train(Simple(), settings_, tmp_path / "whole", "x")
    work = tmp_path / "killed"
    train(Simple(), LoopSettings(2, 0, checkpoint_every=2, log_every=1), work, "x")
    with (work / "log.jsonl").open("a") as handle:
        handle.write('{"step": 2, "loss": 99.0}\n{"step": 3, "lo')
    train(Simple(), settings_, work, "x")
    assert tiny.outcome(work) == tiny.outcome(tmp_path / "whole")


def test_scalars_come_back_exactly(tmp_path):
    train(Simple(), LoopSettings(2, 0), tmp_path, "x")
    again = Simple()
    train(again, LoopSettings(3, 0), tmp_path, "x")
    assert again.restored == 0.1 + 0.2


def test_checkpoint_beyond_the_budget_is_refused(tmp_path):
    train(Simple(), LoopSettings(4, 0), tmp_path, "x")
    with pytest.raises(UserError, match=r"checkpoint\.safetensors is at step 4, beyond the 3 asked for"):
        train(Simple(), LoopSettings(3, 0), tmp_path, "x")


def test_checkpoint_of_another_kind_is_refused(tmp_path):
    tiny.run("method", tmp_path, 1)
    with pytest.raises(UserError, match=r"checkpoint\.safetensors"):
        tiny.run("distillation", tmp_path, 2)


def test_checkpoint_without_the_loop_s_state_is_refused(tmp_path):
    simple = Simple()
    modules = {**simple.networks, "net_average": simple.averages["net"]}
    save_checkpoint(tmp_path / "checkpoint.safetensors", modules, simple.optimizers, {"step": 1})
    with pytest.raises(UserError, match=r"checkpoint\.safetensors lacks the state of a training"):
        train(Simple(), LoopSettings(2, 0), tmp_path, "x")


def test_grid_shows_rows_of_pixels(tmp_path):
    images = torch.stack([torch.full((3, 2, 2), v) for v in (-1.0, 0.0, 1.0, 5.0)])
    save_grid(tmp_path / "a.png", images, 2)
    save_grid(tmp_path / "b.png", images, 2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = Image.open(tmp_path / "a.png").convert("RGB")
    assert picture.size == (2 * 2 + 3 * 2, 2 * 2 + 3 * 2)
    assert [picture.getpixel(place)[0] for place in ((2, 2), (6, 2), (2, 6), (6, 6), (0, 0))] == [0, 128, 255, 255, 255]
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_interrupted_training_on_the_gpu_ends_in_the_same_bytes(tmp_path, monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setitem(tiny.BUILDERS, "method", lambda: tiny.method(device=device, precision="bfloat16"))
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        tiny.run("method", tmp_path / "whole", ITERATIONS)
        with pytest.raises(tiny.Interruption):
            tiny.run("method", tmp_path / "stopped", ITERATIONS, stop_at=3)
        tiny.run("method", tmp_path / "stopped", ITERATIONS)
    finally:
        torch.use_deterministic_algorithms(False)
    assert tiny.outcome(tmp_path / "stopped") == tiny.outcome(tmp_path / "whole")


def test_the_last_two_checkpoints_are_kept(tmp_path):
    train(Simple(), LoopSettings(7, 0, checkpoint_every=2), tmp_path, "x")
    steps = {name: load_tensors(tmp_path / name)[1]["step"] for name in (NEWEST, BEFORE)}
    assert steps == {NEWEST: 7, BEFORE: 6}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [NEWEST, BEFORE, "fingerprint.json", "log.jsonl", "samples.png"]
    )


@pytest.mark.parametrize(("every", "saved"), [(None, [3, 6, 7]), (2, [2, 4, 6, 7]), (4, [3, 4, 7])])
def test_a_checkpoint_is_written_by_time_or_by_steps(tmp_path, monkeypatch, every, saved):
    """A minute a step, every three minutes: whichever of time and steps comes first."""
    clock, trainable, written = [0.0], Simple(), []
    proper, proper_save = trainable.training_step, loop.save_checkpoint

    def step(number):
        clock[0] += 60
        return proper(number)

    def save(path, modules, optimizers, metadata):
        written.append(metadata["step"])
        proper_save(path, modules, optimizers, metadata)

    trainable.training_step = step
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(loop, "save_checkpoint", save)
    train(trainable, LoopSettings(7, 0, checkpoint_every=every, checkpoint_minutes=3), tmp_path, "x")
    assert written == saved


def test_by_default_a_quarter_of_an_hour_passes_between_checkpoints():
    kept = LoopSettings(10, 0)
    assert (kept.checkpoint_every, kept.checkpoint_minutes) == (None, 15)


@pytest.mark.parametrize("damaged", [(NEWEST,), (NEWEST, BEFORE), (BEFORE,)])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, damaged):
    train(Simple(), LoopSettings(9, 0, log_every=1), tmp_path / "whole", "x")
    work, stopped = tmp_path / "stopped", Simple({5: torch.tensor(float("nan"))})
    with pytest.raises(UserError):
        train(stopped, LoopSettings(9, 0, checkpoint_every=2, log_every=1), work, "x")
    for name in damaged:
        content = bytearray((work / name).read_bytes())
        content[-1] ^= 1
        (work / name).write_bytes(bytes(content))
    capsys.readouterr()
    again, begun = Simple(), []
    proper = again.training_step
    again.training_step = lambda step: begun.append(step) or proper(step)
    train(again, LoopSettings(9, 0, log_every=1), work, "x")
    said = capsys.readouterr().err
    assert begun[0] == {1: 2, 2: 0}[len(damaged)] if NEWEST in damaged else begun[0] == 4
    assert said.count("; the training goes on from the checkpoint before\n") == (NEWEST in damaged)
    assert said.count("; the training starts again\n") == (len(damaged) == 2)
    assert tiny.outcome(work) == tiny.outcome(tmp_path / "whole")


def test_killed_between_the_two_renamings_it_goes_on_from_the_one_before(tmp_path):
    train(Simple(), LoopSettings(5, 0), tmp_path / "whole", "x")
    work = tmp_path / "killed"
    train(Simple(), LoopSettings(4, 0, checkpoint_every=2), work, "x")
    (work / NEWEST).replace(work / "checkpoint-next.safetensors")
    train(Simple(), LoopSettings(5, 0), work, "x")
    assert tiny.outcome(work) == tiny.outcome(tmp_path / "whole")
    assert not (work / "checkpoint-next.safetensors").exists()


@settings(max_examples=20)
@given(st.data())
def test_a_flipped_checkpoint_is_refused_and_the_training_starts_again(whole_work, tmp_path_factory, data):
    """Any bit of it; what comes out has the same bytes, and what killed processes left is gone."""
    work = tmp_path_factory.mktemp("flipped")
    shutil.copytree(whole_work, work, dirs_exist_ok=True)
    (work / ".tmpANatuy").write_bytes(b"of safetensors")
    path = work / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    trainable = Simple()
    with contextlib.redirect_stderr(io.StringIO()) as said:
        train(trainable, LoopSettings(4, 0), work, "x")
    assert "checkpoint.safetensors" in said.getvalue() and "; the training starts again\n" in said.getvalue()
    assert trainable.restored is None
    assert path.read_bytes() == (whole_work.parent / "longer" / path.name).read_bytes()
    names = ["checkpoint.safetensors", "fingerprint.json", "log.jsonl", "samples.png"]
    assert sorted(p.name for p in work.iterdir()) == names


@pytest.fixture(scope="module")
def whole_work(tmp_path_factory):
    """A training of three steps, beside one of four."""
    base = tmp_path_factory.mktemp("whole")
    train(Simple(), LoopSettings(3, 0), base / "work", "x")
    train(Simple(), LoopSettings(4, 0), base / "longer", "x")
    return base / "work"
