"""The values of two sets of images on the screen, with rich."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from kdx2i.data.image_kinds import DEEP, FRAMES, TRANSPARENT
from kdx2i.metric_catalogue import METRICS
from kdx2i.metrics.protocols import DIMENSIONS
from kdx2i.stages.reference_statistics import UNSTATED


def print_document(document: Mapping[str, Any], console: Console) -> None:
    """Print the values, and those of every protocol where they were asked for."""
    protocol, generated, reference = document["protocol"], document["generated"], document["reference"]
    counts = f"{generated['images']} generated, {reference['images'] or 'statistics of'} reference images"
    size = f" at {protocol['input_size']} px" if protocol["input_size"] else ""
    grid = Grid(
        title=f"{escape(generated['source'])} against {escape(reference['source'])}",
        caption=f"{protocol['extractor']}{size}, resize {protocol['preprocessing']}, weights "
        f"{protocol['extractor_sha256'][:8]}; {counts}",
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("metric", "value", "95 % interval"):
        grid.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    grid.add_column("counts and remarks")
    for name, entry in document["values"].items():
        metric = METRICS[name]
        interval = entry.get("interval")
        between = f"{metric.text(interval[0])} to {metric.text(interval[1])}" if interval else "–"
        value = "–" if entry["value"] is None else metric.text(entry["value"])
        style = "dim" if entry["value"] is None else None
        grid.add_row(escape(metric.heading), value, between, escape(_remarks(entry)), style=style)
    console.print(grid)
    for note in _notes(document):
        console.print(escape(f"- {note}"), highlight=False, soft_wrap=True)
    if "cross_check" in document:
        print_cross_check(document["cross_check"], console)
    if "protocols" in document:
        print_measurements(document["protocols"], console)


def print_cross_check(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what the libraries give for the same folders, and how far it is from the values above."""
    grid = Grid(title="The same folders by clean-fid and torch-fidelity", title_justify="left")
    for heading in ("library", "metric", "theirs", "here", "difference"):
        grid.add_column(heading, justify="left" if heading in ("library", "metric") else "right", no_wrap=True)
    grid.add_column("remarks")
    for row in rows:
        metric = METRICS[row["metric"]]
        own = "–" if row["own"] is None else f"{row['own']:.4f}"
        difference = "–" if row["own"] is None else f"{row['value'] - row['own']:+.4f}"
        grid.add_row(
            row["library"], escape(metric.heading), f"{row['value']:.4f}", own, difference, escape(row["note"])
        )
    console.print(grid)


def _notes(document: Mapping[str, Any]) -> Iterator[str]:
    """Say of each set what was done to some of its images, and which files are none."""
    dropped = document["protocol"]["alpha"] == "drop"
    done = {
        TRANSPARENT: "transparent, and their alpha is dropped"
        if dropped
        else "transparent, and laid on white; clean-fid and torch-fidelity drop alpha: --alpha drop",
        DEEP: "grey of 16 bits, and taken as round(v / 257)",
        FRAMES: "of several frames or pages, of which the first one is taken",
    }
    if UNSTATED in document["reference"]["remarks"]:
        yield "the reference statistics do not say by which network and resize: they must be those of the caption"
    for side in ("generated", "reference"):
        for remark, count in document[side]["remarks"].items():
            if remark == UNSTATED:
                continue
            yield f"{count} of {document[side]['images']} {side} images are {done[remark]}"
        left_out = document[side]["left_out"]
        if left_out["files"]:
            more = left_out["files"] - len(left_out["first"])
            names = ", ".join(left_out["first"]) + (f" and {more} more" if more else "")
            yield f"{left_out['files']} files beside the {side} images are left out: {names}"
    yield from document["differences"]


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
    by_features: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in measured:
        by_features.setdefault((one["extractor"], one["preprocessing"]), []).append(one)
    for (extractor, resize), members in by_features.items():
        console.print(_block(members, f"{extractor}, resize {resize}"))
    for extractor, reason in document["not_computed"].items():
        console.print(escape(f"- not computed: {extractor}: {reason}"), style="dim", highlight=False, soft_wrap=True)


def _block(measured: Sequence[Mapping[str, Any]], title: str) -> Grid:
    """Lay out the measurements of one extractor and resize; what knows no real set is the same for each."""
    reals = list(dict.fromkeys(one["real"] for one in measured if "real" in one))
    columns = [(real, count) for real in reals for count in DIMENSIONS["generated"]]
    lines: dict[str, dict[tuple[str, str], str]] = {}
    for one in measured:
        metric = METRICS[one["metric"]]
        estimator = next((one[name] for name in ("kid", "fid", "is") if name in metric.depends), "")
        estimator = "" if estimator == "exact" else estimator
        line = lines.setdefault(f"{metric.heading} {estimator}".rstrip(), {})
        text = "–" if one["value"] is None else metric.text(one["value"])
        for real in [one["real"]] if "real" in one else reals:
            line[real, one["generated"]] = text
    grid = Grid(title=escape(title), title_justify="left")
    grid.add_column("metric", no_wrap=True)
    for real, count in columns:
        grid.add_column(f"{real} real\n{count} generated", justify="right")
    for name in sorted(lines):
        grid.add_row(escape(name), *(lines[name].get(column, "") for column in columns))
    return grid
