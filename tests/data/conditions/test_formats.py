"""The formats of condition files: what goes in comes out, and hostile files are one sentence, bounded."""

import io
import re
import struct
import tracemalloc
import wave
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from kdx2i.data.conditions.condition_rows import ConditionRow
from kdx2i.data.conditions.formats import (
    MAX_BYTES,
    RATE,
    checksum,
    decode_captions,
    decode_label_map,
    decode_labels,
    decode_speech,
    encode_captions,
    encode_description,
    encode_label_map,
    encode_speech,
    read_bounded,
    read_verified_file,
    require_known_labels,
)
from kdx2i.errors import UserError

# Any letter that UTF-8 has but the two that end a line of the file; other libraries' line ends are letters here.
CAPTION = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1).filter(str.strip)
MAPS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=70))


@given(st.lists(CAPTION, min_size=1, max_size=5))
def test_captions_come_back(captions):
    assert decode_captions(encode_captions(captions, "x"), "x") == captions


@pytest.mark.parametrize(
    ("captions", "words"),
    [
        ([], "rose has no caption"),
        (["a rose", " \t"], "empty or more than one line"),
        (["a\nrose"], "empty or more than one line"),
        (["a\rrose"], "empty or more than one line"),
        (["\ud800"], "no Unicode text"),
        (["a" * MAX_BYTES["captions"]], "more than 1048576 bytes"),
    ],
)
def test_captions_that_are_no_lines_are_refused(captions, words):
    with pytest.raises(UserError, match=words):
        encode_captions(captions, "rose")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "f.txt is empty: it has no caption"),
        (b" \n\n", "f.txt is empty: it has no caption"),
        (b"a\n\nb\n", "an empty caption in line 2"),
        (b"a rose", "its last line is cut off"),
        (b"a rose\r\n", "its line ends are strange"),
        (b"\xff\xfe\n", "f.txt is not UTF-8 text"),
    ],
)
def test_broken_caption_files_are_named(data, words):
    with pytest.raises(UserError, match=words):
        decode_captions(data, "f.txt")


@given(arrays.arrays(np.int16, st.integers(1, 300)))
def test_speech_comes_back(samples):
    data = encode_speech(samples)
    assert np.array_equal(decode_speech(data, "x"), samples)
    with wave.open(io.BytesIO(data)) as reader:
        assert reader.getparams()[:4] == (1, 2, 22_050, len(samples))


def sound(channels: int = 1, width: int = 2, rate: int = RATE, frames: bytes = bytes(4)) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(frames)
    return buffer.getvalue()


WHOLE = sound(frames=bytes(400))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "f.wav is not a WAV file that can be read"),
        (b"ID3 not a WAV file", "f.wav is not a WAV file that can be read"),
        (encode_captions(["a rose"], ""), "f.wav is not a WAV file that can be read"),
        (WHOLE[:30], "f.wav is not a WAV file that can be read"),
        (WHOLE[:-100], "no sound, or it is cut off"),
        (sound(frames=b""), "no sound, or it is cut off"),
        (WHOLE[:40] + struct.pack("<I", 2**32 - 2) + WHOLE[44:], "no sound, or it is cut off"),
        (sound(channels=2), "16-bit PCM with one channel at 22050 Hz"),
        (sound(width=1), "16-bit PCM with one channel at 22050 Hz"),
        (sound(rate=16_000), "16-bit PCM with one channel at 22050 Hz"),
        (WHOLE[:20] + struct.pack("<H", 3) + WHOLE[22:], "f.wav is not a WAV file that can be read"),
    ],
)
def test_what_is_no_plain_wav_is_named(data, words):
    with pytest.raises(UserError, match=words):
        decode_speech(data, "f.wav")


@given(MAPS)
def test_label_maps_come_back(numbers):
    data = encode_label_map(numbers)
    assert np.array_equal(decode_label_map(data, "x"), numbers)
    # The encoder's effort changes bytes, not the checksum; a number does.
    other = io.BytesIO()
    Image.fromarray(numbers).save(other, "PNG", compress_level=0)
    digest = checksum(data, "label-maps", "images/a.png", "x")
    assert checksum(other.getvalue(), "label-maps", "images/a.png", "x") == digest
    changed = numbers.copy()
    changed[0, 0] ^= 1
    assert checksum(encode_label_map(changed), "label-maps", "images/a.png", "x") != digest


def four_bits() -> bytes:
    """Return an 8-bit grey PNG whose header says 4 bits a sample."""
    data = bytearray(picture("L", (3, 1)))
    data[24] = 4
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def picture(mode: str, size=(3, 4), form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form)
    return buffer.getvalue()


def claimed(width: int, height: int) -> bytes:
    """A PNG whose header states another size than its pixels have; its checksum is not looked at first."""
    data = bytearray(picture("L"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (picture("RGB"), "one channel of 8 bits, not the mode RGB"),
        (picture("P"), "not the mode P"),
        (picture("LA"), "not the mode LA"),
        (picture("1"), "not the mode 1"),
        (picture("I;16"), "not the mode I;16"),
        (four_bits(), "not the mode L;4"),
        (picture("L", form="BMP"), "f.png is not a PNG image"),
        (b"", "f.png is not a PNG image"),
        (picture("L", (60, 60))[:60], "f.png is a truncated or broken image"),
        (claimed(50_000, 50_000), "more than 89000000 pixels: refused before decoding"),
    ],
)
def test_what_is_no_label_map_is_named(data, words):
    with pytest.raises(UserError, match=words):
        decode_label_map(data, "f.png")


def test_a_number_without_a_label_is_named():
    require_known_labels(np.array([[0, 1]], dtype=np.uint8), ["a", "b"], "f.png")
    with pytest.raises(UserError, match=r"f\.png has the label number 2, but the 2 labels count from 0"):
        require_known_labels(np.array([[0, 2]], dtype=np.uint8), ["a", "b"], "f.png")


def test_the_names_of_labels_come_back_and_anything_else_is_named():
    assert decode_labels(encode_description({"labels": ["ground", "Blüte"]}), "x") == ("ground", "Blüte")
    for data in (b"", b"[]", b"{}", b'{"labels": []}', b'{"labels": [1]}', b"[" * 100_000, b"\xff"):
        with pytest.raises(UserError, match=re.escape("f.json does not list the names of the labels")):
            decode_labels(data, "f.json")


@pytest.mark.parametrize(("kind", "size"), [("captions", 100_000_000), ("speech", 2**40), ("label-maps", 2**40)])
def test_a_huge_file_is_refused_in_bounded_memory(tmp_path, kind, size):
    path = tmp_path / "huge"
    with path.open("wb") as handle:
        handle.truncate(size)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=f"huge is larger than the {MAX_BYTES[kind]} bytes"):
            read_bounded(path, kind)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_BYTES[kind]
    finally:
        tracemalloc.stop()


def test_missing_and_changed_files_are_named(tmp_path):
    row = ConditionRow("images/a.png", "captions", "conditions/a.txt", checksum(b"a\n", "captions", "images/a.png", ""))
    with pytest.raises(UserError, match=r"a\.txt does not exist"):
        read_verified_file(tmp_path, row)
    (tmp_path / "conditions").mkdir()
    (tmp_path / row.file).write_bytes(b"a\n")
    assert read_verified_file(tmp_path, row) == b"a\n"
    (tmp_path / row.file).write_bytes(b"b\n")
    with pytest.raises(UserError, match=r"a\.txt is not the file that conditions\.csv states"):
        read_verified_file(tmp_path, row)
    (tmp_path / row.file).unlink()
    (tmp_path / row.file).mkdir()
    with pytest.raises(UserError, match=r"a\.txt cannot be read"):
        read_verified_file(tmp_path, row)
