"""Plots of the page: the suite's own, as SVG elements in the colours of the page (light, dark or print)."""

import re

from kdx2i.tables.model import Table
from kdx2i.tables.plot import render_plot
from kdx2i.tables.published import Published

_BEFORE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_NOT_DRAWN = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
_SIZE = re.compile(r' (?:width|height)="[\d.]+pt"')
_DIGITS = re.compile(r"(-?\d+\.\d{3})\d+")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_INK, _PAPER = "#000000", "#ffffff"


def inline_plot(table: Table, published: Published) -> str:
    """Return a table's plot (`kdx2i.tables.plot`) as an SVG element whose ink and bars take the page's colours.

    The bars' colours become `var(--bar0)`, `var(--bar1)`, ... in the order in which they appear.
    """
    text = _BEFORE.sub("", render_plot(table, published, "svg").decode("utf-8"), count=1)
    text = _SIZE.sub("", _DIGITS.sub(r"\1", _NOT_DRAWN.sub("", text)), count=2)
    text = text.replace(_INK, "currentColor").replace(f"fill: {_PAPER}", "fill: none")
    for number, colour in enumerate(dict.fromkeys(_COLOUR.findall(text))):
        if colour != _PAPER:
            text = text.replace(colour, f"var(--bar{number})")
    return text.replace(
        "<svg ", '<svg class="plot" role="img" fill="currentColor" aria-labelledby="figure3b-title" ', 1
    )
