"""Drawings are checked before they are drawn, and drawn like the reference rasters."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdx2i.data.manifest import read_manifest
from kdx2i.data.pack import read_icons
from kdx2i.data.svg import Icon, check_svg, rasterise, svg_document
from kdx2i.errors import UserError

HERE = Path(__file__).parent
CIRCLE = '<circle cx="4" cy="2" r="2" fill="#ff0000"/>'


def icon(body: str, width: float = 8, height: float = 4) -> Icon:
    return Icon("set", "name", width, height, body)


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script>",
        "<foreignObject/>",
        '<image href="#a"/>',
        "<text>a</text>",
        "<style>*{}</style>",
        '<use href="https://example.org/a.svg#b"/>',
        '<use xlink:href="file:///etc/passwd"/>',
        '<use href="data:image/svg+xml,a"/>',
        '<path fill="url(https://example.org/a#b)"/>',
        "<path style=\"fill:url( 'http://example.org#a')\"/>",
        '<path onload="a()"/>',
        '<g xml:base="https://example.org/"/>',
        '<path xmlns="urn:other"/>',
        "<path>",
        "&lol;",
    ],
)
def test_anything_but_plain_drawing_is_refused_by_name(body):
    with pytest.raises(UserError, match="set:name"):
        rasterise(icon(body), 8)


def test_entities_and_document_types_are_refused():
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + svg_document(icon("<g/>"))
    with pytest.raises(UserError, match="document type or an entity"):
        check_svg(bomb, "set:name")
    with pytest.raises(UserError):
        check_svg('<!DOCTYPE svg SYSTEM "http://example.org/a.dtd">' + svg_document(icon("<g/>")), "set:name")


def test_links_inside_the_drawing_are_allowed():
    body = f'<defs><g id="a">{CIRCLE}</g></defs><use href="#a"/><use xlink:href="#a"/>'
    assert rasterise(icon(body), 8).getpixel((4, 4)) == (255, 0, 0)


def test_a_wide_drawing_stands_in_the_middle_of_a_square_on_the_background():
    image = rasterise(icon(CIRCLE), 16, "#0000ff")
    assert image.mode == "RGB" and image.size == (16, 16)
    assert image.getpixel((8, 8)) == (255, 0, 0)
    assert {image.getpixel((8, 1)), image.getpixel((8, 14)), image.getpixel((1, 8))} == {(0, 0, 255)}


@pytest.mark.parametrize("size", [0, 4096])
def test_the_size_is_bounded(size):
    with pytest.raises(UserError, match="not between"):
        rasterise(icon(CIRCLE), size)


def test_rasters_equal_the_reference_within_a_tolerance(root):
    """The reference is a sheet of 64 px rasters whose checksums are those of the manifest."""
    folder = root / "benchmarks" / "datasets" / "open_emoji"
    hashes = {row.source: row.raster64_md5 for row in read_manifest(folder / "manifest.csv", None)}
    sheet = np.asarray(Image.open(HERE / "rasters64.png").convert("RGB"))
    with (HERE / "rasters64.csv").open(encoding="utf-8", newline="") as handle:
        tiles = {row["source"]: int(row["tile"]) for row in csv.DictReader(handle)}
    seen = set()
    for drawing in read_icons(folder / "icons.jsonl.xz", None):
        if drawing.source in tiles:
            row, column = divmod(tiles[drawing.source], 8)
            reference = sheet[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64]
            assert hashlib.md5(reference.tobytes()).hexdigest()[:12] == hashes[drawing.source]
            difference = np.abs(np.asarray(rasterise(drawing, 64), dtype=int) - reference)
            assert difference.mean() < 0.5 and difference.max() <= 32, drawing.source
            seen.add(drawing.source)
    assert seen == set(tiles) and len({source.split(":")[0] for source in seen}) == 8
