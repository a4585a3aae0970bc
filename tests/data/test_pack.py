"""The pack is verified before use and read in bounded memory."""

import hashlib
import lzma

import pytest

from kdx2i.data import pack
from kdx2i.data.pack import icon_line, parse_icon, read_icons, read_verified
from kdx2i.data.svg import Icon
from kdx2i.errors import UserError

ICONS = [Icon("a", f"icon-{number}", 8, 4.5, f'<path d="M{number} é"/>') for number in range(50)]


def packed(path, lines=None):
    path.write_bytes(lzma.compress(b"\n".join(lines or [icon_line(icon) for icon in ICONS])))
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_drawings_come_back_as_they_were_written(tmp_path):
    path = packed(tmp_path / "icons.jsonl.xz")
    assert list(read_icons(path, digest(path))) == ICONS


def test_a_pack_with_another_checksum_is_not_read(tmp_path):
    path = packed(tmp_path / "icons.jsonl.xz")
    with pytest.raises(UserError, match=r"icons\.jsonl\.xz is not the file that the dataset states"):
        next(read_icons(path, "0" * 64))


def test_a_missing_pack_is_named(tmp_path):
    with pytest.raises(UserError, match=r"icons\.jsonl\.xz does not exist"):
        next(read_icons(tmp_path / "icons.jsonl.xz", None))


def test_a_large_file_is_refused_before_it_is_hashed(tmp_path):
    path = packed(tmp_path / "icons.jsonl.xz")
    with pytest.raises(UserError, match="larger than 10 bytes"):
        read_verified(path, digest(path), limit=10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-20], "cut off"),
        (lambda data: b"no xz" + data, "not a readable xz file"),
        (lambda data: data + b"\0\0\0\0", "bytes after"),
        (lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:], "not a readable xz file"),
    ],
)
def test_a_damaged_pack_is_one_sentence(tmp_path, change, message):
    path = packed(tmp_path / "icons.jsonl.xz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        list(read_icons(path, None))


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "MAX_LINE_BYTES", 2**20)
    path = tmp_path / "icons.jsonl.xz"
    path.write_bytes(lzma.compress(b"a" * 2**24))
    with pytest.raises(UserError, match="more than a pack of drawings may hold"):
        list(read_icons(path, None))
    monkeypatch.setattr(pack, "MAX_UNPACKED_BYTES", 2**21)
    path.write_bytes(lzma.compress((icon_line(ICONS[0]) + b"\n") * 2**16))
    with pytest.raises(UserError, match="more than a pack of drawings may hold"):
        list(read_icons(path, None))


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{",
        b'{"set":"a","name":"b","w":1,"h":1}',
        b'{"set":"a","name":"b","w":1,"h":1,"body":"","more":1}',
        b'{"set":1,"name":"b","w":1,"h":1,"body":""}',
        b'{"set":"a","name":"b","w":true,"h":1,"body":""}',
        b'{"set":"a","name":"b","w":0,"h":1,"body":""}',
        b'{"set":"a","name":"b","w":NaN,"h":1,"body":""}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_drawing_names_its_place(line):
    with pytest.raises(UserError, match="pack, line 3 is not a drawing"):
        parse_icon(line, "pack, line 3")
