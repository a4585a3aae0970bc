"""Where a report's numbers lie: the results of a preset, or committed references; both have one layout."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdx2i.config import listed
from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.model import Table
from kdx2i.tables.published import Published, read_published

_PROVENANCE = ".provenance.json"


@dataclass(frozen=True)
class Source:
    """A folder laid out as `results/<preset>`.

    `root`: the repository; `folder`: relative to it; `preset`: as command lines name it; `tables` and `figures`: the
    names of those that are shown; `reference`: that it is a committed one.
    """

    root: Path
    folder: Path
    preset: str
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    reference: bool = False

    def place(self, name: str) -> Path:
        """Return where a result lies, relative to the root, by the name that a provenance has for it."""
        parts = Path(name).parts
        return self.folder.joinpath(*parts[2:]) if parts[0] == "results" else Path(*parts)

    def record(self, name: str) -> dict[str, Any] | None:
        """Return the provenance of a result by its name, None where it is not there."""
        return record_at(self.root / self.place(name) / "provenance.json")


@dataclass(frozen=True)
class ReportTable:
    """A table with its provenance, the printed numbers and where it comes from."""

    source: Source
    table: Table
    record: dict[str, Any]
    published: Published

    @property
    def evaluations(self) -> dict[str, list[str]]:
        """The names of the evaluations of each cell (`part/label/dataset`), one a seed."""
        return {cell["cell"]: list(cell["leaves"]) for cell in self.record["spec"]["cells"]}


def record_at(path: Path) -> dict[str, Any] | None:
    """Return the provenance in a file, None where there is no such file; `UserError` where it holds none."""
    if not path.is_file():
        return None
    record = read_document(path)
    if not isinstance(record, dict) or not {"identity", "inputs", "outputs", "spec"} <= set(record):
        raise UserError(f"{path} does not hold a provenance")
    return record


def reference_sources(root: Path, names: Sequence[str]) -> list[Source]:
    """Return committed references by name; `UserError` where one has no tables, or two are not of one preset."""
    home = root / "results" / "reference"
    known = sorted({path.parents[1].name for path in home.glob(f"*/tables/*{_PROVENANCE}")})
    sources = []
    for name in names:
        if name not in known:
            raise UserError(f"results/reference has no `{name}` with tables; it has {listed(known)}")
        folder = home / name
        tables = _finished(folder / "tables")
        preset = load_table_json(folder / "tables" / f"{tables[0]}.json").context.preset
        figures = _finished(folder / "figures")
        sources.append(Source(root, folder.relative_to(root), preset, tables, figures, reference=True))
    presets = {source.preset for source in sources}
    if len(presets) > 1:
        raise UserError(f"{listed(names)} are references of several presets ({listed(presets)}): report each alone")
    every = [table for source in sources for table in source.tables]
    if twice := sorted({table for table in every if every.count(table) > 1}):
        raise UserError(f"{listed(names)} both have {listed(twice)}: one report shows a table once")
    return sources


def _finished(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name.removesuffix(_PROVENANCE) for path in folder.glob(f"*{_PROVENANCE}")))


def report_tables(source: Source) -> Iterator[ReportTable]:
    """Read the tables of a source, which must be there."""
    for name in source.tables:
        path = source.root / source.folder / "tables" / f"{name}.json"
        record = record_at(path.with_name(f"{name}{_PROVENANCE}"))
        if record is None:
            raise UserError(f"{path} has no provenance beside it: make the table again with `kdx2i table`")
        yield ReportTable(source, load_table_json(path), record, read_published(source.root, name))
