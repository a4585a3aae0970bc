"""The values of two sets of images on the screen, with rich."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.metrics.protocols import DEPENDS, DIMENSIONS
from kdx2i.tables.quantities import QUANTITIES


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
    """Print a block for each extractor and resize: metrics by estimator, against real sets and counts."""
    measured: Sequence[Mapping[str, Any]] = document["measurements"]
    console.print("[bold]The same images under every registered protocol[/bold]")
    for features in dict.fromkeys((found["extractor"], found["preprocessing"]) for found in measured):
        mine = [found for found in measured if (found["extractor"], found["preprocessing"]) == features]
        console.print(_block(mine, f"{features[0]}, resize {features[1]}"))
    for extractor, reason in document["not_computed"].items():
        console.print(escape(f"- not computed: {extractor}: {reason}"), style="dim", highlight=False, soft_wrap=True)


def _block(measured: Sequence[Mapping[str, Any]], title: str) -> Grid:
    """Lay out the measurements of one extractor and resize; what knows no real set is the same for each."""
    reals = list(dict.fromkeys(found["real"] for found in measured if "real" in found))
    columns = [(real, count) for real in reals for count in DIMENSIONS["generated"]]
    lines: dict[str, dict[tuple[str, str], str]] = {}
    for found in measured:
        metric = found["metric"]
        estimator = next((found[name] for name in ("kid", "is") if name in DEPENDS[metric]), "")
        line = lines.setdefault(f"{QUANTITIES[metric].heading} {estimator}".rstrip(), {})
        text = "–" if found["value"] is None else QUANTITIES[metric].text(found["value"])
        for real in [found["real"]] if "real" in found else reals:
            line[real, found["generated"]] = text
    grid = Grid(title=escape(title), title_justify="left")
    grid.add_column("metric", no_wrap=True)
    for real, count in columns:
        grid.add_column(f"{real} real\n{count} generated", justify="right")
    for name in sorted(lines):
        grid.add_row(escape(name), *(lines[name].get(column, "") for column in columns))
    return grid
