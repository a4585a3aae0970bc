"""Every mode that an image may be kept in becomes 8-bit RGB by its meaning, or is refused in one sentence."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kdx2i.data.decode import decode_image
from kdx2i.data.image_kinds import DEEP, FRAMES, TRANSPARENT
from kdx2i.errors import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
RAMP = np.arange(0, 65536, 17, dtype=np.uint16)[None].repeat(2, 0)
EIGHT_BITS = np.rint(RAMP / 257).astype(np.uint8)


def png(samples: np.ndarray, bits: int, colour: int, extra: bytes = b"") -> bytes:
    """Write samples (h, w, c) of 8 or 16 bits as PNG; `extra` are chunks before the pixels."""
    rows = samples.astype(">u2" if bits == 16 else "u1").reshape(len(samples), -1)
    size = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    body = chunk(b"IHDR", size) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(samples: np.ndarray, order: str = "<", photometric: int = 1, bits: int = 16) -> bytes:
    """Write grey samples (h, w), 16 bits each, as an uncompressed TIFF of either byte order."""
    entries = {256: samples.shape[1], 257: samples.shape[0], 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    entries |= {278: samples.shape[0], 279: 2 * samples.size}
    pixels = samples.astype(f"{order}u2").tobytes()
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(pixels))
    fields = [
        struct.pack(f"{order}HHII", tag, 4, 1, value) if tag in (256, 257, 273, 278, 279)
        else struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
        for tag, value in entries.items()
    ]  # fmt: skip
    return head + pixels + struct.pack(f"{order}H", len(fields)) + b"".join(fields) + bytes(4)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def grey(data: bytes) -> np.ndarray:
    image, remarks = decode_image(data, "x", FORMATS)
    pixels = np.array(image)
    assert DEEP in remarks
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize(
    "data",
    [
        png(RAMP[..., None], 16, 0),
        tiff(RAMP),
        tiff(RAMP, ">"),
        tiff(65535 - RAMP, photometric=0),
        saved(Image.fromarray(RAMP), "TIFF", compression="tiff_deflate"),
        saved(Image.fromarray(RAMP), "PPM"),
    ],
    ids=["png", "tiff", "tiff big-endian", "tiff white is zero", "tiff deflate", "pgm"],
)
def test_sixteen_bits_of_grey_are_brought_to_eight(data: bytes) -> None:
    assert np.array_equal(grey(data), EIGHT_BITS)


def test_twelve_bits_of_grey_reach_from_black_to_white() -> None:
    values = np.array([[0, 4095], [2048, 16]], np.uint16)
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x10])
    whole = tiff(values, bits=12)
    data = whole[:8] + packed + bytes(2) + whole[16:]
    assert grey(data).tolist() == [[0, 255], [128, 1]]


@pytest.mark.parametrize(
    ("mode", "sentence"), [("F", "x holds floating-point numbers"), ("I", "x holds integers of 32 bits")]
)
def test_numbers_without_a_range_are_refused(mode: str, sentence: str) -> None:
    data = saved(Image.new(mode, (4, 4), 1), "TIFF")
    with pytest.raises(UserError, match=sentence) as caught:
        decode_image(data, "x", FORMATS)
    assert "broken" not in str(caught.value)


def test_signed_numbers_are_refused() -> None:
    data = bytearray(tiff(RAMP))
    place = data.index(struct.pack("<HHIHH", 277, 3, 1, 1, 0))
    data[place : place + 12] = struct.pack("<HHIHH", 339, 3, 1, 2, 0)
    with pytest.raises(UserError, match="integers of 32 bits or with a sign"):
        decode_image(bytes(data), "x", FORMATS)


HALF = np.array([[[200, 100, 0, 255], [200, 100, 0, 128], [200, 100, 0, 0]]], np.uint8)
LAID_ON_WHITE = [[200, 100, 0], [227, 177, 127], [255, 255, 255]]


def rgba(alpha: str, data: bytes) -> tuple[list[list[int]], frozenset[str]]:
    image, remarks = decode_image(data, "x", FORMATS, alpha)  # type: ignore[arg-type]
    return np.array(image)[0].tolist(), remarks


@pytest.mark.parametrize(
    "data",
    [png(HALF, 8, 6), png(HALF.astype(np.uint16) * 257, 16, 6), saved(Image.fromarray(HALF), "TIFF"),
     saved(Image.fromarray(HALF), "WEBP", lossless=True, exact=True)],
    ids=["png", "png 16 bits", "tiff", "webp"],
)  # fmt: skip
def test_alpha_is_laid_on_white_or_dropped_and_said(data: bytes) -> None:
    assert rgba("white", data) == (LAID_ON_WHITE, frozenset({TRANSPARENT}))
    assert rgba("drop", data) == ([[200, 100, 0]] * 3, frozenset({TRANSPARENT}))


def test_an_opaque_alpha_channel_is_nothing_to_speak_of() -> None:
    opaque = HALF.copy()
    opaque[..., 3] = 255
    assert rgba("white", png(opaque, 8, 6)) == rgba("drop", png(opaque, 8, 6)) == ([[200, 100, 0]] * 3, frozenset())


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (png(HALF[..., 2:], 8, 4), [0, 0, 0]),
        (png(np.zeros((1, 3, 1)), 8, 3, chunk(b"PLTE", bytes([9, 8, 7])) + chunk(b"tRNS", b"\0")), [9, 8, 7]),
        (png(np.full((1, 3, 1), 50), 8, 0, chunk(b"tRNS", b"\0\x32")), [50, 50, 50]),
        (png(np.full((1, 3, 1), 257), 16, 0, chunk(b"tRNS", b"\x01\x01")), [1, 1, 1]),
        (png(np.full((1, 3, 3), 60), 8, 2, chunk(b"tRNS", b"\0\x3c" * 3)), [60, 60, 60]),
    ],
    ids=["grey and alpha", "palette", "grey level", "grey level of 16 bits", "colour"],
)
def test_every_kind_of_transparency(data: bytes, kept: list[int]) -> None:
    white, remarks = rgba("white", data)
    assert white[-1] == [255, 255, 255]
    assert TRANSPARENT in remarks
    assert rgba("drop", data)[0][-1] == kept


@pytest.mark.parametrize(("mode", "form"), [("1", "PPM"), ("P", "PNG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF")])
def test_other_modes_keep_their_colours(mode: str, form: str) -> None:
    picture = Image.new("RGB", (6, 5), (255, 255, 255))
    image, remarks = decode_image(saved(picture.convert(mode), form), "x", FORMATS)
    assert image.mode == "RGB"
    assert image.getextrema() == ((255, 255),) * 3
    assert remarks == frozenset()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_taken_and_said(form: str) -> None:
    first, second = Image.new("RGB", (8, 8), (0, 0, 0)), Image.new("RGB", (8, 8), (250, 250, 250))
    image, remarks = decode_image(saved(first, form, save_all=True, append_images=[second]), "x", FORMATS)
    assert image.getextrema() == ((0, 0),) * 3
    assert remarks == {FRAMES}
    assert decode_image(saved(first, form), "x", FORMATS)[1] == frozenset()


def test_pages_are_not_walked_through() -> None:
    """A directory of pages that points to itself has a next page, and ends."""
    data = bytearray(tiff(RAMP))
    (first,) = struct.unpack_from("<I", data, 4)
    data[-4:] = struct.pack("<I", first)
    assert FRAMES in decode_image(bytes(data), "x", FORMATS)[1]


def test_a_photograph_of_48_megapixels_is_read() -> None:
    image, _ = decode_image(saved(Image.new("L", (8000, 6000), 7), "PNG"), "x", FORMATS)
    assert image.size == (8000, 6000)
