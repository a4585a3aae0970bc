"""What lies behind the tables: loss curves, measures of stage 1, the ladder and figures."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kdx2i import bounds
from kdx2i.errors import UserError
from kdx2i.foreign import parse_json, read_document, read_text
from kdx2i.plan.kinds import RUN
from kdx2i.plan.shipped import read_shipped
from kdx2i.report.lineage import Lineage, grid_caption
from kdx2i.report.pictures import Pictures
from kdx2i.report.sources import Source, record_at
from kdx2i.tables.stage1 import StudentMeasures, rows

Point = TypeVar("Point")
POINTS = 120
"""Points of a drawn loss curve: a longer log is thinned out."""


@dataclass(frozen=True)
class LossCurve:
    """One loss over the updates, a line a seed; `lines` are (seed, points for an SVG of 100 x 40)."""

    name: str
    lines: tuple[tuple[str, str], ...]
    low: float
    high: float
    last: float


@dataclass(frozen=True)
class LossGroup:
    """The losses of a method's runs on a dataset; `places` are the folders of the logs, one a seed."""

    key: str
    title: str
    places: tuple[str, ...]
    curves: tuple[LossCurve, ...]


def loss_groups(root: Path, lineage: Lineage) -> list[LossGroup]:
    """Return the loss curves of every run whose log is kept, and name its group in the lineage's leaves."""
    logs: dict[str, dict[str, tuple[str, list[dict[str, float]]]]] = {}
    for key, leaf in lineage.leaves.items():
        if "log" not in leaf or leaf["kind"] != RUN.name:
            continue
        steps = read_log(root / leaf["log"])
        if steps:
            logs.setdefault(key.rpartition("/")[0], {})[str(leaf["seed"])] = (key, steps)
    groups = []
    for number, (folder, by_seed) in enumerate(sorted(logs.items())):
        for key, _ in by_seed.values():
            lineage.leaves[key]["losses"] = f"losses-{number}"
        groups.append(_group(f"losses-{number}", folder, by_seed))
    return groups


def read_log(path: Path) -> list[dict[str, float]]:
    """Return the lines of a training log: {"step": ..., loss: value}; what is no number is left out.

    A line that is no JSON object raises `UserError` naming the file.
    """
    lines = []
    for line in read_text(path, bounds.DOCUMENT_BYTES).splitlines():
        entry = parse_json(line, f"{path} is not a log of a training: a line is no JSON")
        if not isinstance(entry, dict):
            raise UserError(f"{path} is not a log of a training: a line is no JSON object")
        lines.append({k: float(v) for k, v in entry.items() if isinstance(v, int | float) and not isinstance(v, bool)})
    return [line for line in lines if "step" in line]


def thinned(points: Sequence[Point]) -> list[Point]:
    """Return at most about `POINTS` of a log's lines or points, the last one always among them."""
    stride = max(1, len(points) // POINTS)
    return [*points[: len(points) - 1 : stride], *points[-1:]]


def _group(key: str, folder: str, by_seed: Mapping[str, tuple[str, list[dict[str, float]]]]) -> LossGroup:
    names = dict.fromkeys(name for _, steps in by_seed.values() for step in steps for name in step if name != "step")
    curves = []
    for name in names:
        series = {seed: [(s["step"], s[name]) for s in steps if name in s] for seed, (_, steps) in by_seed.items()}
        curves.append(_curve(name, {seed: points for seed, points in series.items() if points}))
    parts = folder.split("/runs/", 1)[-1].split("/")
    places = tuple(place for place, _ in by_seed.values())
    return LossGroup(key, ", ".join([*parts[:3], f"{parts[3].removeprefix('r')} px"]), places, tuple(curves))


def _curve(name: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> LossCurve:
    """Scale the lines of one loss to a box of 100 x 40, y downwards."""
    steps = [step for points in series.values() for step, _ in points]
    values = [value for points in series.values() for _, value in points]
    low, high = min(values), max(values)
    left, width, height = min(steps), (max(steps) - min(steps)) or 1.0, (high - low) or 1.0
    lines = []
    for seed, points in series.items():
        drawn = (f"{100 * (x - left) / width:.1f},{39 - 38 * (y - low) / height:.1f}" for x, y in thinned(points))
        lines.append((seed, " ".join(drawn)))
    last = [points[-1][1] for points in series.values()]
    return LossCurve(name, tuple(lines), low, high, sum(last) / len(last))


@dataclass(frozen=True)
class Stage1Row:
    """The measures of a student under one guidance; `problem` says why they are not those of the student used."""

    student: str
    place: str
    values: Mapping[str, Any]
    problem: str


def stage1_rows(source: Source, lineage: Lineage) -> list[Stage1Row]:
    """Return the measures of stage 1 of every student that a source's runs start from, or that was measured there."""
    found: dict[str, Stage1Row] = {}
    table = source.root / source.folder / "stage1.csv"
    if table.is_file():
        for values in csv.DictReader(read_text(table, bounds.DOCUMENT_BYTES).splitlines()):
            name = f"{values['architecture']} {values['transfer']}, {values['resolution']} px, seed {values['seed']}"
            found[f"{name}/{values['guidance']}"] = Stage1Row(name, values["student"], _numbers(values), "")
        return list(found.values())
    prefix = f"{source.folder.as_posix()}/runs/"
    for key, leaf in lineage.leaves.items():
        if not key.startswith(prefix):
            continue
        for path, digest in leaf.get("files", ()):
            if path.startswith("benchmarks/students/"):
                found |= {f"{row.place}/{row.values['guidance']}": row for row in _shipped(source.root, path, digest)}
    return [found[key] for key in sorted(found)]


def _numbers(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a line of stage1.csv, numbers as numbers, empty ones as None."""

    def read(text: str) -> Any:
        try:
            return float(text) if text else None
        except ValueError:
            return text

    return {name: read(text) for name, text in values.items()}


def _shipped(root: Path, path: str, digest: str) -> list[Stage1Row]:
    """Return the measures that a shipped student was shipped with, and whether it is the one that a run read."""
    stated = record_of_shipped(root / path)
    if stated is None:
        return []
    student = read_shipped(root / path)
    problem = "" if stated.get("sha256") == digest else "the run started from an earlier file of that name"
    name = f"{student.spec.architecture} {student.spec.transfer}, {student.spec.resolution} px"
    return [
        Stage1Row(name, path, values, problem) for values in rows(StudentMeasures(student.spec, student.metrics, path))
    ]


def record_of_shipped(path: Path) -> dict[str, Any] | None:
    """Return the provenance beside a shipped file, None where there is none."""
    beside = path.with_suffix(".provenance.json")
    if not path.is_file() or not beside.is_file():
        return None
    document = read_document(beside)
    return document if isinstance(document, dict) else None


@dataclass(frozen=True)
class Ladder:
    """The ladder of an extractor on a dataset; `rungs` are (name, values in the order of `metrics`)."""

    dataset: str
    resolution: str
    metrics: tuple[str, ...]
    rungs: tuple[tuple[str, tuple[float | None, ...]], ...]


def ladders(root: Path, extractor: str) -> list[Ladder]:
    """Return the committed ladder of an extractor (`docs/ladder`), none where it has none."""
    path = root / "docs" / "ladder" / f"{extractor}.csv"
    if not path.is_file():
        return []
    grouped: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    metrics: dict[str, None] = {}
    for line in csv.DictReader(read_text(path, bounds.DOCUMENT_BYTES).splitlines()):
        metrics.setdefault(line["metric"])
        rungs = grouped.setdefault((line["dataset"], line["resolution"]), {})
        rungs.setdefault(line["rung"], {})[line["metric"]] = float(line["value"])
    names = tuple(metrics)
    return [
        Ladder(*key, names, tuple((rung, tuple(values.get(name) for name in names)) for rung, values in rungs.items()))
        for key, rungs in grouped.items()
    ]


@dataclass(frozen=True)
class Figure:
    """A qualitative figure of the page; `names` are those of its columns, rows and what stands below."""

    name: str
    title: str
    caption: str
    picture: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    left_out: tuple[str, ...]


def qualitative_figures(source: Source, pictures: Pictures) -> list[Figure]:
    """Return the figures of a source, with their pictures added to the page's."""
    figures = []
    for name in source.figures:
        folder = source.root / source.folder / "figures"
        record = record_at(folder / f"{name}.provenance.json") or {"spec": {}}
        about = read_document(folder / f"{name}.json")
        picture = pictures.add(folder / f"{name}.png", name, grid_caption(record) or name)
        figures.append(
            Figure(
                name=name,
                title=about.get("title", name),
                caption=about.get("caption", ""),
                picture=picture,
                columns=tuple(map(str, about.get("columns", ()))),
                rows=tuple(map(str, about.get("rows", ()))),
                left_out=tuple(f"{label}: {reason}" for label, reason in about.get("left_out", {}).items()),
            )
        )
    return figures


def as_json(value: Any) -> str:
    """Return a value as JSON that may stand in a script element of a page."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def commits(leaves: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the different commits that results were made at, in order of appearance."""
    return list(dict.fromkeys(str(leaf["commit"]) for leaf in leaves if leaf.get("commit")))
