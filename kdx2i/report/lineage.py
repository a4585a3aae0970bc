"""The lineage of every number: command, inputs, seed, log and images of each result, from its provenance alone."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.plan.kinds import EVALUATION, POSITIONAL, kind_at
from kdx2i.report.pictures import Pictures
from kdx2i.report.sources import ReportTable, Source

SAMPLES = "samples.png"
LOG = "log.jsonl"
METRICS_FILE = "metrics.json"


class Lineage:
    """The results behind a report's numbers, each once, as JSON.

    `leaves` maps where a result lies to what its provenance says; `packages` holds each set of package versions once,
    which a leaf names by its index. The sample grids of the evaluations of `seed` become pictures of the page; all
    others are named.
    """

    def __init__(self, pictures: Pictures, seed: int) -> None:
        self.leaves: dict[str, dict[str, Any]] = {}
        self.packages: list[dict[str, str]] = []
        self._pictures, self._seed = pictures, seed

    def add(self, source: Source, name: str) -> str:
        """Add a result, and all that is there of what it was made from; return its key."""
        key = source.place(name).as_posix()
        if key in self.leaves:
            return key
        record = source.record(name)
        command = command_of(name, source.preset)
        if record is None:
            self.leaves[key] = {"name": key, "command": command, "absent": "its record is not kept here"}
            return key
        self.leaves[key] = leaf = {
            "name": key,
            "kind": record.get("kind", ""),
            "command": command,
            "identity": record["identity"],
            "seed": record.get("seed"),
            "commit": record.get("git_commit") or "unknown",
            "machine": _machine(record),
            "packages": self._packages(record.get("packages", {}), record.get("python", "")),
            "files": sorted(record.get("files", {}).items()),
        }
        folder = source.root / key
        if (folder / SAMPLES).is_file():
            leaf["images"] = f"{key}/{SAMPLES}"
            if leaf["kind"] == EVALUATION.name and leaf["seed"] == self._seed:
                leaf["picture"] = self._pictures.add(folder / SAMPLES, key, grid_caption(record))
        if (folder / LOG).is_file():
            leaf["log"] = f"{key}/{LOG}"
        if leaf["kind"] == EVALUATION.name and (folder / METRICS_FILE).is_file():
            leaf["values"] = _values(read_document(folder / METRICS_FILE))
        leaf["inputs"] = [[self.add(source, inner), identity] for inner, identity in record["inputs"].items()]
        return key

    def add_cells(self, shown: ReportTable) -> dict[str, list[str]]:
        """Add the evaluations of every cell of a table; return their keys by cell (`part/label/dataset`)."""
        return {cell: [self.add(shown.source, name) for name in names] for cell, names in shown.evaluations.items()}

    def _packages(self, versions: Mapping[str, str], python: str) -> int:
        known = {"python": python, **versions}
        if known not in self.packages:
            self.packages.append(known)
        return self.packages.index(known)


def _machine(record: Mapping[str, Any]) -> str:
    """Return the device and the instruction set that a result was computed with."""
    instructions = record.get("instructions") or {}
    sets = ", ".join(f"{name} {value}" for name, value in instructions.items())
    device = str(record.get("device") or "unknown")
    return f"{device} ({sets})" if sets else device


def _values(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return an evaluation's entries by metric, with the value before the first update and those of each class."""
    untrained = document.get("untrained", {})
    return {
        metric: {
            **{
                key: entry[key]
                for key in ("value", "standard_error", "n_real", "n_generated", "reason")
                if key in entry
            },
            "untrained": untrained.get(metric, {}).get("value"),
            "classes": [
                [name, float(f"{of_class['value']:.6g}")]
                for name, of_class in entry.get("per_class", {}).items()
                if isinstance(of_class, dict) and isinstance(of_class.get("value"), int | float)
            ],
        }
        for metric, entry in document.get("values", {}).items()
        if isinstance(entry, dict)
    }


def grid_caption(record: Mapping[str, Any]) -> str:
    """Say in words what a sample grid shows."""
    spec = record["spec"]
    parts = [spec.get("dataset"), spec.get("architecture"), spec.get("transfer")]
    if "resolution" in spec:
        parts.append(f"{spec['resolution']} px")
    parts += [f"seed {record['seed']}" if record.get("seed") is not None else None, spec.get("mode")]
    return ", ".join(str(part) for part in parts if part)


def command_of(name: str, preset: str, seeds: Sequence[int] = ()) -> str:
    """Return the command line that makes the result of a name, such as `results/open/runs/...`."""
    parts = Path(name).parts
    results = Path(*parts[:2]) if parts[0] == "results" else Path("results")
    try:
        kind, address = kind_at(results, Path(name) / "provenance.json")
    except UserError:
        return ""
    words = ["kdx2i", kind.command, "--preset", preset]
    if kind.seeded:
        words += ["--seeds", ",".join(map(str, seeds))]
    for field in kind.fields:
        words += [str(address[field])] if field in POSITIONAL else [f"--{field}", str(address[field])]
    return shlex.join(words)
