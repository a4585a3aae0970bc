"""Images are bounded before they are decoded, and what is broken is named."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kdx2i.data import decode
from kdx2i.data.decode import decode_rgb, pixels_sha256, png_bytes, read_rgb
from kdx2i.errors import UserError


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that states a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10000, 8901), (11000, 11000), (60000, 60000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decode_bomb_is_refused_from_its_header(size):
    with pytest.raises(UserError, match=r"bomb\.png has more than 89000000 pixels"):
        decode_rgb(png_header(*size), "bomb.png")


@pytest.mark.filterwarnings("error")
def test_a_bomb_is_one_sentence_where_warnings_are_errors_too():
    with pytest.raises(UserError, match=r"bomb\.png has more than"):
        decode_rgb(png_header(11000, 11000), "bomb.png")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_truncated_image_is_named(encoded, form):
    data = encoded(1, form, (64, 48))
    assert decode_rgb(data, "whole").size == (64, 48)
    with pytest.raises(UserError, match=r"dir/cut\.img is (a truncated or broken image|not an image)"):
        decode_rgb(data[: len(data) * 2 // 3], "dir/cut.img")


@pytest.mark.parametrize("data", [b"", b"no image", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"])
def test_other_files_are_refused(data):
    with pytest.raises(UserError, match="x is not an image"):
        decode_rgb(data, "x")


def test_files_are_bounded_and_named(tmp_path, monkeypatch, encoded):
    path = tmp_path / "a.png"
    with pytest.raises(UserError, match=r"a\.png does not exist"):
        read_rgb(path)
    path.write_bytes(encoded(1))
    assert read_rgb(path).size == (12, 10)
    monkeypatch.setattr(decode, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(UserError, match=r"a\.png is larger than 10 bytes"):
        read_rgb(path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK"])
def test_every_mode_becomes_rgb_and_transparency_white(mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    source = image.convert("RGB").convert(mode) if mode in ("1", "CMYK", "L") else image.convert(mode)
    buffer = io.BytesIO()
    options = {"transparency": source.getpixel((1, 0))} if mode == "P" else {}
    source.save(buffer, format="JPEG" if mode == "CMYK" else "PNG", **options)
    decoded = decode_rgb(buffer.getvalue(), "x")
    assert decoded.mode == "RGB"
    if mode in ("RGBA", "LA"):
        assert [decoded.getpixel((0, 0)), decoded.getpixel((1, 0))] == [(0, 0, 0), (255, 255, 255)]


@given(st.integers(1, 8), st.integers(1, 8), st.randoms(use_true_random=False))
def test_the_checksum_is_of_the_pixels_and_their_shape(width, height, random):
    image = Image.frombytes("RGB", (width, height), random.randbytes(width * height * 3))
    again = decode_rgb(png_bytes(image), "x")
    assert again.tobytes() == image.tobytes() and pixels_sha256(again) == pixels_sha256(image)
    if width != height:
        turned = Image.frombytes("RGB", (height, width), image.tobytes())
        assert pixels_sha256(turned) != pixels_sha256(image)
