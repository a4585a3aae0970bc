"""Files are whole or absent; hashes and JSON say the same thing on every machine."""

import hashlib
import json
import os
import signal
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdx2i.errors import UserError
from kdx2i.files import (
    read_json,
    replacing,
    sha256_file,
    sha256_json,
    write_bytes,
    write_csv,
    write_json,
    write_text,
)

PROPERTY = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=6,
)


@PROPERTY
@given(st.binary(max_size=200))
def test_bytes_come_back_and_hash_as_they_are(tmp_path, data):
    path = tmp_path / "a" / "b.bin"
    write_bytes(path, data)
    assert path.read_bytes() == data
    assert sha256_file(path) == hashlib.sha256(data).hexdigest()
    assert [p.name for p in path.parent.iterdir()] == ["b.bin"]


@PROPERTY
@given(JSON)
def test_json_comes_back(tmp_path, value):
    path = tmp_path / "v.json"
    write_json(path, value)
    assert read_json(path) == value
    assert path.read_bytes().endswith(b"\n")
    assert b"\r\n" not in path.read_bytes()


@PROPERTY
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=4))
def test_hash_of_json_ignores_the_order_of_keys_only(value):
    assert sha256_json(value) == sha256_json(dict(reversed(value.items())))
    assert sha256_json(value) != sha256_json([value])


def test_hash_of_json_is_pinned():
    # Identities are made of this hash: a change of it makes every result stale.
    text = '{"a":[1,2.5,null,true],"b":"ü"}'
    assert sha256_json({"b": "ü", "a": [1, 2.5, None, True]}) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(tmp_path, value):
    path = tmp_path / "v.json"
    write_json(path, {"kept": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": value})
    with pytest.raises(ValueError, match="JSON"):
        sha256_json(value)
    assert json.loads(path.read_text()) == {"kept": 1}


def test_failed_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_killed_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    child = os.fork()
    if not child:
        with replacing(path) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.read_text() == "old"


def test_readers_see_the_old_file_until_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_csv_has_the_columns_in_their_order_and_unix_line_ends(tmp_path):
    path = tmp_path / "t.csv"
    write_csv(path, ["b", "a"], [{"a": 1, "b": "x,y"}, {"a": None, "b": "ü"}])
    assert path.read_bytes() == 'b,a\n"x,y",1\nü,\n'.encode()
    with pytest.raises(ValueError, match="c"):
        write_csv(path, ["a"], [{"a": 1, "c": 2}])


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}"])
def test_broken_json_is_named(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.json is not a readable JSON file"):
        read_json(path)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="not a readable JSON file"):
        read_json(tmp_path)
