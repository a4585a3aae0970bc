"""Label maps hold class numbers however a PNG keeps them; where the number cannot be told, the file is refused."""

import struct
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdx2i.errors import UserError
from kdx2i.stages.folder_labels import label_maps

NUMBERS = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)


def write(path: Path, numbers: np.ndarray, bits: int) -> None:
    """Write a grey PNG with samples of any number of bits."""
    text = ["".join(format(int(value), f"0{bits}b") for value in row) for row in numbers]
    rows = [int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in text]
    size = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, 0, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b""))
    chunks = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def write_palette(path: Path, indices: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> None:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    image.save(path)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_samples_are_class_numbers_whatever_their_bits(bits: int, tmp_path: Path) -> None:
    write(tmp_path / "a.png", NUMBERS, bits)
    assert label_maps(tmp_path, ["a.png"])[0].tolist() == NUMBERS.tolist()


def test_numbers_above_255_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.png", NUMBERS.astype(int) * 1000, 16)
    with pytest.raises(UserError, match=r"a\.png holds the number 1000, and class numbers end at 255"):
        label_maps(tmp_path, ["a.png"])


@pytest.mark.parametrize(
    "colours",
    [[(0, 0, 0), (128, 0, 0)], [(number, number, number) for number in range(256)], [(0, 0, 0), (1, 1, 1)]],
    ids=["colours", "all greys", "its own greys"],
)
def test_indices_of_a_palette_are_class_numbers(colours: list[tuple[int, int, int]], tmp_path: Path) -> None:
    write_palette(tmp_path / "a.png", NUMBERS, colours)
    assert label_maps(tmp_path, ["a.png"])[0].tolist() == NUMBERS.tolist()


def test_greys_that_are_not_their_indices_are_refused(tmp_path: Path) -> None:
    """What a lossless optimiser makes of a grey map with the classes 0, 5 and 9."""
    write_palette(tmp_path / "a.png", np.array([[0, 1, 2]]), [(0, 0, 0), (5, 5, 5), (9, 9, 9)])
    with pytest.raises(
        UserError, match=r"a\.png has a palette of greys that are not their indices \(index 1 has grey 5"
    ):
        label_maps(tmp_path, ["a.png"])


def test_a_grey_among_colours_is_a_colour(tmp_path: Path) -> None:
    """As in the colours of Pascal VOC, whose class 7 is grey: the map may hold no other class."""
    colours = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    write_palette(tmp_path / "a.png", 7 * NUMBERS, [*colours, (128, 128, 128)])
    assert label_maps(tmp_path, ["a.png"])[0].tolist() == (7 * NUMBERS).tolist()


def test_palettes_in_another_order_in_each_file_are_refused(tmp_path: Path) -> None:
    """What an optimiser makes of coloured maps: each file keeps the colours that it uses."""
    write_palette(tmp_path / "a.png", NUMBERS, [(0, 0, 0), (128, 0, 0)])
    write_palette(tmp_path / "b.png", NUMBERS, [(0, 0, 0), (0, 128, 0)])
    with pytest.raises(UserError, match=r"b\.png has the colour \(0, 128, 0\) at index 1 .* a\.png has \(128, 0, 0\)"):
        label_maps(tmp_path, ["a.png", "b.png"])
    assert len(label_maps(tmp_path, ["a.png"])) == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_no_numbers(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=rf"holds colours \({mode}\), not class numbers"):
        label_maps(tmp_path, ["a.png"])


def test_names_are_found_in_either_form_of_unicode(tmp_path: Path) -> None:
    composed, parts = (unicodedata.normalize(form, "fée") for form in ("NFC", "NFD"))
    (tmp_path / parts).mkdir()
    write(tmp_path / parts / f"{parts}.png", NUMBERS, 8)
    assert label_maps(tmp_path, [f"{composed}/{composed}_3.jpg"])[0].tolist() == NUMBERS.tolist()
