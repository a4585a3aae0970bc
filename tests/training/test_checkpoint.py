"""Tensor files come back as they were written, byte for byte, or are refused by name."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from kdx2i.errors import UserError
from kdx2i.training.checkpoint import (
    DamagedCheckpoint,
    load_checkpoint,
    load_module,
    load_tensors,
    optimizer_tensors,
    prefixed,
    restore_optimizer,
    save_checkpoint,
    save_tensors,
    select,
)

DTYPES = [
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
SHAPES = st.lists(st.integers(0, 4), max_size=4)
PROPERTY = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def tensors(draw):
    """Any named tensors, also empty, scalar, transposed and with special values."""
    made = {}
    for name in draw(st.lists(NAMES, max_size=5, unique=True)):
        if name == "__metadata__":
            continue
        dtype, shape = draw(st.sampled_from(DTYPES)), draw(SHAPES)
        bits = torch.randint(0, 256, (math.prod(shape) * 8,), dtype=torch.uint8)
        flat = bits.view(dtype)[: math.prod(shape)] if dtype != torch.bool else bits[: math.prod(shape)] > 127
        tensor = flat.reshape(shape).clone()
        made[name] = tensor.transpose(0, -1) if tensor.ndim and draw(st.booleans()) else tensor
    return made


def same_bits(a, b):
    raw_a, raw_b = (t.contiguous().reshape(-1).view(torch.uint8) if t.numel() else t for t in (a, b))
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(raw_a, raw_b)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@PROPERTY
@given(tensors(), st.dictionaries(st.text(), JSON, max_size=3))
def test_round_trip_keeps_every_bit(tmp_path, named, metadata):
    path, again = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_tensors(path, named, metadata)
    found, header = load_tensors(path)
    assert set(found) == set(named)
    assert all(same_bits(found[name], named[name]) for name in named)
    assert header == metadata
    save_tensors(again, dict(reversed(named.items())), metadata)
    assert again.read_bytes() == path.read_bytes()


def test_aliased_and_strided_tensors_are_written_whole(tmp_path):
    base = torch.arange(24.0).reshape(2, 3, 2, 2)
    named = {"all": base, "row": base[1], "last": base.contiguous(memory_format=torch.channels_last), "again": base}
    save_tensors(tmp_path / "a", named, {})
    found, _ = load_tensors(tmp_path / "a")
    assert all(torch.equal(found[name], named[name]) for name in named)


def test_metadata_refuse_what_json_cannot_say(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_tensors(tmp_path / "a", {}, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.safetensors does not exist"):
        load_tensors(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"PK\x03\x04 a zip",
        b"\x80\x04\x95 a pickle",
        b"\xff" * 64,
        b"{}",
        b"\x02" + b"\x00" * 7 + b"[]",
    ],
)
def test_foreign_file_is_named(tmp_path, content):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"foreign\.safetensors"):
        load_tensors(path)


@pytest.mark.parametrize("metadata", [{"kdx2i": "[1]"}, {"kdx2i": "{"}, {"kdx2i": "null"}])
def test_foreign_metadata_are_refused(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, str(path), metadata=metadata)
    with pytest.raises(UserError, match=r"foreign\.safetensors"):
        load_tensors(path)


class Pair(nn.Module):
    """A network with a buffer, a scalar parameter and a convolution."""

    def __init__(self, width=2):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.gain = nn.Parameter(torch.ones([]))
        self.register_buffer("seen", torch.zeros([], dtype=torch.int64))

    def forward(self, x):
        return (self.conv(x) * self.gain).square().mean()


def trained(width=2, steps=2, layout=torch.contiguous_format):
    torch.manual_seed(width)
    network = Pair(width).to(memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(2, 3, 4, 4)).backward()
        optimizer.step()
        network.seen += 1
    return network, optimizer


def saved(path: Path, width=2, **named):
    network, optimizer = trained(width)
    save_checkpoint(path, {"net": network, **named}, {"net": optimizer}, {"step": 2, "scalars": {}})
    return network, optimizer


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_checkpoint_restores_networks_and_optimisers(tmp_path, layout):
    path = tmp_path / "checkpoint.safetensors"
    network, optimizer = trained(layout=layout)
    save_checkpoint(path, {"net": network}, {"net": optimizer}, {"step": 2})
    other, adam = trained(steps=0, layout=layout)
    assert load_checkpoint(path, {"net": other}, {"net": adam}) == {"step": 2}
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    )
    mine, theirs = optimizer_tensors(optimizer), optimizer_tensors(adam)
    assert set(mine) == set(theirs)
    assert all(same_bits(mine[name], theirs[name]) for name in mine)
    state = adam.state[other.conv.weight]["exp_avg"]
    assert state.stride() == other.conv.weight.stride()
    save_checkpoint(tmp_path / "again", {"net": other}, {"net": adam}, {"step": 2})
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_names_that_share_a_beginning_do_not_mix(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    save_checkpoint(path, {"net": a, "net_average": b}, {}, {})
    c, d = nn.Linear(2, 2), nn.Linear(2, 2)
    load_checkpoint(path, {"net": c, "net_average": d}, {})
    assert torch.equal(a.weight, c.weight)
    assert torch.equal(b.weight, d.weight)


def test_select_is_the_inverse_of_prefixed():
    named = {"a.b": torch.zeros(1), "c": torch.ones(1)}
    joint = {**prefixed("net", named), **prefixed("network", named)}
    assert select(joint, "net") == named
    assert select(joint, "ne") == {}


@pytest.mark.parametrize("part", range(8))
def test_truncated_checkpoint_is_named(tmp_path, part):
    path = tmp_path / "checkpoint.safetensors"
    saved(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * part // 8])
    network, optimizer = trained(steps=0)
    with pytest.raises(UserError, match=r"checkpoint\.safetensors"):
        load_checkpoint(path, {"net": network}, {"net": optimizer})


def test_longer_checkpoint_is_named(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(UserError, match=r"checkpoint\.safetensors"):
        load_tensors(path)


def test_every_flipped_bit_of_a_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    network = nn.Linear(1, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    save_checkpoint(path, {"net": network}, {"net": optimizer}, {"step": 2})
    data = path.read_bytes()
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << (5 * position % 8)
        path.write_bytes(broken)
        with pytest.raises(DamagedCheckpoint) as refused:
            load_checkpoint(path, {"net": network}, {"net": optimizer})
        assert str(path) in str(refused.value)


@pytest.mark.parametrize("other", ["wider", "more networks", "fewer networks", "more optimisers", "fewer optimisers"])
def test_checkpoint_of_another_network_is_named(tmp_path, other):
    path = tmp_path / "checkpoint.safetensors"
    saved(path, 3 if other == "wider" else 2)
    network, optimizer = trained(steps=0)
    networks = {"net": network}
    optimizers = {"net": optimizer}
    if other == "more networks":
        networks["second"] = nn.Linear(1, 1)
    if other == "fewer networks":
        del networks["net"]
    if other == "fewer optimisers":
        del optimizers["net"]
    if other == "more optimisers":
        saved(path, second=nn.Linear(1, 1))
    with pytest.raises(UserError, match=r"checkpoint\.safetensors"):
        load_checkpoint(path, networks, optimizers)


@pytest.mark.parametrize(
    "state",
    [
        {"9.exp_avg": torch.zeros(2)},
        {"x.exp_avg": torch.zeros(2)},
        {"0.exp_avg": torch.zeros(5)},
        {"0.step": torch.zeros([]), "1.exp_avg": torch.zeros([])},
    ],
)
def test_state_of_another_optimiser_is_refused(state):
    _, optimizer = trained(steps=0)
    with pytest.raises(ValueError, match="optimiser"):
        restore_optimizer(optimizer, state)


def test_optimiser_keeps_the_settings_of_the_code():
    _, optimizer = trained()
    network = Pair()
    other = torch.optim.Adam(network.parameters(), lr=5.0, betas=(0.1, 0.2))
    restore_optimizer(other, optimizer_tensors(optimizer))
    assert other.param_groups[0]["lr"] == 5.0
    assert other.param_groups[0]["betas"] == (0.1, 0.2)
    assert float(other.state[network.gain]["step"]) == 2


def test_load_module_says_what_does_not_fit():
    with pytest.raises(UserError, match=r"w\.safetensors does not fit .* weight"):
        load_module(nn.Linear(2, 3), {"weight": torch.zeros(4, 4), "bias": torch.zeros(3)}, Path("w.safetensors"))


def test_header_is_readable_json(tmp_path):
    save_tensors(tmp_path / "a", {"w": torch.zeros(2)}, {"b": 1, "a": [1.5]})
    data = (tmp_path / "a").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["kdx2i"]) == {"a": [1.5], "b": 1}
