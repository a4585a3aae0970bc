"""The values of two sets of images on the screen, with rich."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.metrics.protocols import DEPENDS, DIMENSIONS
from kdx2i.tables.quantities import QUANTITIES

_ROW = ("extractor", "preprocessing", "real", "generated")


def print_document(document: Mapping[str, Any], console: Console) -> None:
    """Print the values, and those of every protocol where they were asked for."""
    protocol, generated, reference = document["protocol"], document["generated"], document["reference"]
    size = f" at {protocol['input_size']} px" if protocol["input_size"] else ""
    grid = Grid(
        title=f"{escape(generated['source'])} against {escape(reference['source'])}",
        caption=f"{protocol['extractor']}{size}, resize {protocol['preprocessing']}, weights "
        f"{protocol['extractor_sha256'][:8]}; {generated['images']} generated, {reference['images']} reference images",
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("metric", "value", "95 % interval"):
        grid.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    grid.add_column("counts and remarks")
    for name, entry in document["values"].items():
        quantity = QUANTITIES[name]
        interval = entry.get("interval")
        between = f"{quantity.text(interval[0])} to {quantity.text(interval[1])}" if interval else "–"
        value = "–" if entry["value"] is None else quantity.text(entry["value"])
        style = "dim" if entry["value"] is None else None
        grid.add_row(escape(quantity.heading), value, between, escape(_remarks(entry)), style=style)
    console.print(grid)
    if "protocols" in document:
        print_measurements(document["protocols"], console)


def _remarks(entry: Mapping[str, Any]) -> str:
    """Write why there is no value, or the counts behind it and what to know of it."""
    if entry["value"] is None:
        return str(entry["reason"])
    words = {"classes": "classes", "n_real": "reference", "n_generated": "generated", "n_sources": "sources"}
    counts = ", ".join(f"{entry[key]} {word}" for key, word in words.items() if entry.get(key) is not None)
    stand_in = f"{entry['lpips_network']} stands in for LPIPS" if entry.get("stand_in") else ""
    return "; ".join(part for part in (counts, stand_in, entry.get("note", "")) if part)


def print_measurements(document: Mapping[str, Any], console: Console) -> None:
    """Print one line for each extractor, resize, real set and count, one column for each metric and estimator."""
    measured: Sequence[Mapping[str, Any]] = document["measurements"]
    columns: dict[tuple[str, str], None] = {}
    lines: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    reals = [name for name in DIMENSIONS["real"] if any(found.get("real") == name for found in measured)]
    for found in measured:
        metric = found["metric"]
        estimator = next((found[name] for name in ("kid", "is") if name in DEPENDS[metric]), "")
        columns.setdefault((metric, estimator))
        text = "–" if found["value"] is None else QUANTITIES[metric].text(found["value"])
        # A metric that knows no real set stands on the line of each.
        for real in [found["real"]] if "real" in found else reals:
            line = tuple(real if name == "real" else found[name] for name in _ROW)
            lines.setdefault(line, {})[metric, estimator] = text
    grid = Grid(title="The same images under every registered protocol", title_justify="left")
    for name in _ROW:
        grid.add_column(name, overflow="fold")
    for metric, estimator in columns:
        heading = QUANTITIES[metric].title + (f" {estimator}" if estimator else "")
        grid.add_column(heading, justify="right")
    for line, texts in lines.items():
        grid.add_row(*line, *(texts.get(column, "") for column in columns))
    console.print(grid)
    for extractor, reason in document["not_computed"].items():
        console.print(escape(f"- not computed: {extractor}: {reason}"), style="dim", highlight=False)
