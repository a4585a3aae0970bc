"""Hostile and damaged files: one clear sentence, nothing run, no memory taken."""

import builtins
import io
import os
import pickle
import struct
import sys
import tracemalloc

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdx2i.errors import UserError
from kdx2i.teacher.official.pickle_reader import Inert, MalformedPickleError, only, read_pickle
from kdx2i.teacher.official.stylegan2_files import load_official
from kdx2i.teacher.official.torch_files import CHECKPOINT, read_torch_file

from . import official_files as files


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class State:
    """Pickles as an object of `Call`'s result with a state."""

    def __init__(self, function, arguments, state):
        self.parts = function, arguments, state

    def __reduce__(self):
        return self.parts


def hostile_objects(sentinel):
    command = f"touch {sentinel}"
    source = f"open({str(sentinel)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, command),
        "eval": Call(builtins.eval, source),
        "exec": Call(builtins.exec, source),
        "open": Call(builtins.open, str(sentinel), "w"),
        "getattr": Call(builtins.getattr, "x", "upper"),
        "import": Call(builtins.__import__, "os"),
        "torch.load": Call(torch.load, str(sentinel)),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, command))),
        "nested": Call(torch.storage._load_from_bytes, pickle.dumps(Call(os.system, command))),
        "state": State(os.system, (command,), {"a": 1}),
    }


NAMES = sorted(hostile_objects("x"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", ["pkl", "zip", "legacy"])
def test_nothing_in_a_file_is_run(tmp_path, name, protocol, kind):
    sentinel, path = tmp_path / "sentinel", tmp_path / "hostile.bin"
    hostile = hostile_objects(sentinel)[name]
    if kind == "pkl":
        path.write_bytes(files.nvidia_bytes(*files.nvidia_networks(), protocol=protocol, augment_pipe=hostile))
    else:
        content = files.rosinality_content(*files.rosinality_networks(), args=hostile)
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=kind == "zip")
    modules = set(sys.modules)
    with pytest.raises(UserError, match=r"refused: the file asks for .*, which is not tensor data"):
        load_official(path)
    assert not sentinel.exists()
    assert not {"torch_utils", "dnnlib"} & (set(sys.modules) - modules)


def test_the_refusal_names_the_global(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"G_ema": Call(os.system, "true")}))
    with pytest.raises(UserError, match=rf"{os.system.__module__}\.system, which is not tensor data"):
        load_official(path)


@pytest.mark.parametrize("text", ["cos\nsystem\n(S'true'\ntR.", "c__builtin__\neval\n.", "(ios\nsystem\n."])
def test_protocol_zero_tricks_are_refused(tmp_path, text):
    with pytest.raises((UserError, MalformedPickleError)):
        read_pickle(io.BytesIO(text.encode()), only({}, "a file"))


def test_tensorflow_pickles_are_explained(tmp_path):
    path = tmp_path / "tf.pkl"
    path.write_bytes(b"\x80\x03cdnnlib.tflib.network\nNetwork\nq\x00)\x81q\x01.")
    with pytest.raises(UserError, match="TensorFlow network pickle"):
        load_official(path)


def pickled(*opcodes):
    return b"\x80\x04" + b"".join(opcodes) + b"."


def read(data):
    return read_pickle(io.BytesIO(data), only({("m", "f"): Inert(lambda *a: list(a))}, "a file"))


@pytest.mark.parametrize(
    "data",
    [
        pickled(b"\x8e" + struct.pack("<Q", 2**62)),  # BINBYTES8 of an impossible length
        pickled(b"\x8d" + struct.pack("<Q", 2**62)),  # BINUNICODE8
        pickled(b"B" + struct.pack("<I", 2**32 - 1)),  # BINBYTES
        pickled(b"\x8b" + struct.pack("<i", 2**31 - 1)),  # LONG4
        pickled(b"N", b"0", b"r" + struct.pack("<I", 2**32 - 1)),  # LONG_BINPUT of an empty stack
        pickled(b"j" + struct.pack("<I", 7)),  # LONG_BINGET of nothing
        pickled(b"N", b"N", b"R"),  # call of None
        pickled(b"N", b"}", b"b"),  # state for None
        pickled(b"}", b"]", b"N", b"s"),  # unhashable key
        pickled(b"}", b")" + b"\x85" * 50, b"N", b"s"),  # nested tuple as key
        pickled(b"]", b"N", b"N", b"s"),  # items for a list
        pickled(b"N", b"N"),  # two results
        pickled(b"(", b"N"),  # open mark
        pickled(b"t"),  # no mark
        pickled(b"\x81"),  # nothing on the stack
        pickled(b"Q"),  # persistent id where none belongs
        pickled(b"N", b"N", b"\x93"),  # global without a name
        b"\x80\x09N.",  # unknown protocol
        b"\x80\x04N",  # no end
        b"\x80\x04" + b"\x82\x01.",  # extension registry
    ],
)
def test_malformed_opcodes_are_refused(data):
    tracemalloc.start()
    with pytest.raises(MalformedPickleError):
        read(data)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_large_memo_numbers_take_no_memory():
    tracemalloc.start()
    assert read(pickled(b"N", b"r" + struct.pack("<I", 2**32 - 1))) is None
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_deep_nesting_is_survived():
    assert read(pickled(b")" + b"\x85" * 2)) == (((),),)
    with pytest.raises(MalformedPickleError, match="nested too deeply"):
        read(pickled(b")" + b"\x85" * 100_000))


def test_plain_values_are_those_of_python():
    value = {"a": [1, -5, 2**70, 1.5, None, True, False], "b": (b"x", "y\u00e9", {"s"}, frozenset({"t"}), ())}
    for protocol in (4, 5):
        assert read(pickle.dumps(value, protocol=protocol)) == value


class Storage:
    """A stand-in whose persistent id claims anything."""

    def __init__(self, *pid):
        self.pid = pid


def legacy_file(path, tensor_arguments, pid, payload=b""):
    """Write a legacy container with one tensor built from a storage of our choosing."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return obj.pid if isinstance(obj, Storage) else None

    with path.open("wb") as handle:
        pickle.dump(0x1950A86A20F9469CFC6C, handle, protocol=2)
        pickle.dump(1001, handle, protocol=2)
        pickle.dump({"little_endian": True, "protocol_version": 1001, "type_sizes": {}}, handle, protocol=2)
        tensor = Call(torch._utils._rebuild_tensor_v2, Storage(*pid), *tensor_arguments, False, None)
        Pickler(handle, protocol=2).dump({"t": tensor})
        pickle.dump([pid[2]], handle, protocol=2)
        handle.write(payload)


@pytest.mark.parametrize(
    ("arguments", "numel", "words"),
    [
        ((0, (10**6, 10**6), (10**6, 1)), 10**12, "ends too early"),
        ((0, (10**6, 10**6), (10**6, 1)), 4, "beyond the end"),
        ((0, (5,), (1,)), 4, "beyond the end"),
        ((4, (1,), (1,)), 4, "beyond the end"),
        ((-1, (1,), (1,)), 4, "natural number"),
        ((0, (-1,), (1,)), 4, "natural number"),
        ((0, (2,), (-1,)), 4, "natural number"),
        ((0, (2,), (1, 1)), 4, "disagree"),
        ((0, (2.0,), (1,)), 4, "natural number"),
        ((0, (4,), (1,)), -1, "natural number"),
        ((0, (4,), (1,)), 5, "ends too early"),
        ((0, (2,), (1,)), 3, "disagrees"),
    ],
)
def test_impossible_tensors_are_refused(tmp_path, arguments, numel, words):
    path = tmp_path / "a.pt"
    payload = struct.pack("<q", 4) + struct.pack("<4f", 1, 2, 3, 4)
    legacy_file(path, arguments, ("storage", torch.FloatStorage, "0", "cpu", numel, None), payload)
    with pytest.raises(UserError, match=words):
        read_torch_file(path)


def test_a_possible_tensor_of_that_kind_is_read(tmp_path):
    path = tmp_path / "a.pt"
    payload = struct.pack("<q", 4) + struct.pack("<4f", 1, 2, 3, 4)
    legacy_file(path, (1, (3,), (1,)), ("storage", torch.FloatStorage, "0", "cpu", 4, None), payload)
    assert read_torch_file(path)["t"].load().tolist() == [2.0, 3.0, 4.0]


def test_a_small_file_cannot_describe_a_large_network(tmp_path):
    path = tmp_path / "a.pt"
    content = files.rosinality_content(*files.rosinality_networks())
    wide = files.rosinality.generator_config(16, 12, 3, (4096, 4096, 4096))
    with torch.device("meta"):
        wide_shapes = files.rosinality.official_state(files.Generator(wide), 16)
    torch.save(content | {"g_ema": {k: torch.zeros(1).expand(s) for k, s in wide_shapes.items()}}, path)
    with pytest.raises(UserError, match="more tensor data than it holds"):
        load_official(path)


def test_an_endless_network_is_refused(tmp_path):
    content = files.rosinality_content(*files.rosinality_networks())
    content["g_ema"]["style.999999999.weight"] = torch.zeros(12, 12)
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match="impossible sizes"):
        load_official(tmp_path / "a.pt")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """One small valid file of each kind."""
    result = {"pkl": files.nvidia_bytes(*files.nvidia_networks())}
    for kind in ("zip", "legacy"):
        buffer = io.BytesIO()
        content = files.rosinality_content(*files.rosinality_networks())
        torch.save(content, buffer, _use_new_zipfile_serialization=kind == "zip")
        result[kind] = buffer.getvalue()
    return result, tmp_path_factory.mktemp("fuzz") / "a.bin"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["pkl", "zip", "legacy"]))
def test_damage_anywhere_gives_a_user_error_or_a_whole_file(samples, data, kind):
    contents, path = samples
    damaged = bytearray(contents[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        if data.draw(st.booleans()):
            damaged[position] = data.draw(st.integers(0, 255))
        else:
            del damaged[position : position + data.draw(st.integers(1, 40))]
    path.write_bytes(bytes(damaged))
    try:
        official = load_official(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert "synthesis.b4.const" in official.generator


def test_truncated_pickles_are_refused(samples):
    contents, path = samples
    for length in [1, 2, 10, 100, 1000, len(contents["pkl"]) // 2, len(contents["pkl"]) - 1]:
        path.write_bytes(contents["pkl"][:length])
        with pytest.raises(UserError, match="damaged"):
            load_official(path)


def test_the_list_of_globals_is_short():
    assert {module.split(".")[0] for module, _ in CHECKPOINT} == {
        "torch",
        "numpy",
        "collections",
        "argparse",
        "_codecs",
    }
