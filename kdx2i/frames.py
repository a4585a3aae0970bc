"""Reproduced and published numbers as tidy pandas DataFrames, for notebooks.

`kdx2i.load_results` and `kdx2i.load_published` are these functions; `import kdx2i` alone imports neither pandas nor
this module. Both frames name table, part, dataset, label and metric as the paper does: they merge on these columns.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from kdx2i.config import find_root, listed, load_preset
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.foreign import read_document
from kdx2i.metric_catalogue import METRICS
from kdx2i.plan import Plan
from kdx2i.suite import make_plan
from kdx2i.tables import published
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.model import Cell, Table

TEXT, COUNT, NUMBER, FLAG = "string", "Int64", "float64", "bool"

RESULT_COLUMNS = {
    "preset": TEXT,
    "table": TEXT,
    "part": TEXT,
    "kind": TEXT,
    "label": TEXT,
    "architecture": TEXT,
    "transfer": TEXT,
    "mode": TEXT,
    "dataset": TEXT,
    "used_dataset": TEXT,
    "resolution": COUNT,
    "used_resolution": COUNT,
    "metric": TEXT,
    "direction": TEXT,
    "seed": COUNT,
    "value": NUMBER,
    "standard_error": NUMBER,
    "mean": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "n_real": COUNT,
    "n_generated": COUNT,
    "extractor": TEXT,
    "absent": TEXT,
    "identity": TEXT,
    "current": FLAG,
}
PUBLISHED_COLUMNS = {
    "table": TEXT,
    "part": TEXT,
    "dataset": TEXT,
    "label": TEXT,
    "metric": TEXT,
    "printed": TEXT,
    "value": NUMBER,
    "direction": TEXT,
    "resolution": COUNT,
    "contradicted": FLAG,
    "note": TEXT,
}

_PROVENANCE = ".provenance.json"
_OF_ONE_SEED = re.compile(r"seed (\d+): (.*)", re.DOTALL)


class Measurement(NamedTuple):
    """Standard error and numbers of images behind one value, None where they are not known."""

    standard_error: float | None = None
    n_real: int | None = None
    n_generated: int | None = None


# By cell (`part/label/dataset`), then seed, then metric: the entries of the evaluations' metrics.json.
Entries = Mapping[str, Mapping[int, Mapping[str, Mapping[str, Any]]]]


def load_results(
    preset: str,
    *,
    root: str | Path | None = None,
    tables: str | Sequence[str] | None = None,
    reference: bool = False,
) -> pd.DataFrame:
    """Return the reproduced numbers of a preset's tables: one row for each cell and seed, controls included.

    `preset` is a preset's name or the path of its YAML file, whose tables are read from `results/<preset>/tables/`;
    with `reference` it is a folder of `results/reference/`. `root` is the repository (default: the one around the
    working folder, or KDX2I_ROOT). `tables` are the names of some tables (default: all that are there).

    Columns: `dataset` and `resolution` (pixels) are the paper's, `used_dataset` and `used_resolution` those used here;
    `kind` is `method` or `control`. `value` is the number of one `seed`, `standard_error` its own sampling error;
    `mean`, `low` and `high` are the mean over the cell's seeds and its 95% Student interval, the same in each row of
    the cell. A number that is not there is missing, and `absent` says why. A control has one row, without seed.
    `identity` is the table's; `current` is False where a table is not what code, data and preset would give now.

    Nothing to read, an unknown name or a broken file raises `UserError`.
    """
    place = _repository(root)
    name = preset if reference else load_preset(place, preset).name
    folder = place / "results" / ("reference" if reference else "") / name
    plans: dict[tuple[str, tuple[int, ...]], Plan | None] = {}
    rows: list[dict[str, Any]] = []
    for table_name in _asked_tables(folder, tables, reference):
        path = folder / "tables" / f"{table_name}.json"
        table, record = load_table_json(path), _record(path.with_name(table_name + _PROVENANCE))
        key = (table.context.preset if reference else preset, table.context.seeds)
        if key not in plans:
            plans[key] = _plan(place, *key)
        intact = record["outputs"].get(path.name) == sha256_file(path)
        of_table = {
            "preset": table.context.preset,
            "table": table.name,
            "extractor": table.context.extractor,
            "identity": record["identity"],
            "current": intact and record["identity"] == _planned_identity(plans[key], table_name),
        }
        rows.extend(of_table | row for row in _rows(table, _entries(folder, record)))
    return _frame(rows, RESULT_COLUMNS)


def load_published(table: str, *, root: str | Path | None = None) -> pd.DataFrame:
    """Return the paper's numbers of a table (`table1`, `figure3b`, `section4_1`, ...): one row for each.

    `printed` is the text as the paper has it (`8.90`, `45.3%`), `value` the number, `resolution` in pixels where the
    paper says it; `contradicted` marks a number that the paper itself contradicts, and `note` says where. `root` is
    the repository (default: the one around the working folder, or KDX2I_ROOT). An unknown table raises `UserError`.
    """
    place = _repository(root)
    heading = ",".join(published.COLUMNS)
    files = sorted((place / "benchmarks" / "published").glob("*.csv"))
    known = [path.stem for path in files if path.read_text(encoding="utf-8").splitlines()[:1] == [heading]]
    if table not in known:
        raise UserError(f"there are no published numbers of `{table}`; the tables are {listed(known)}")
    rows = [
        {
            "table": value.table,
            **value.name._asdict(),
            "printed": value.printed,
            "value": float(value.value),
            "direction": value.direction,
            "resolution": value.resolution,
            "contradicted": value.contradicted,
            "note": value.note or None,
        }
        for value in published.read_published(place, table).values()
    ]
    return _frame(rows, PUBLISHED_COLUMNS)


def _repository(root: str | Path | None) -> Path:
    """Return the repository's folder; `UserError` where `root` is none."""
    if root is None:
        return find_root()
    if not (Path(root) / "benchmarks" / "presets").is_dir():
        raise UserError(f"{root} is not the kdx2i repository: it has no folder benchmarks/presets")
    return Path(root).resolve()


def _frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Make a frame whose columns have these types, also where it has no row or a column no value."""
    return pd.DataFrame(
        {column: pd.Series([row.get(column) for row in rows], dtype=kind) for column, kind in columns.items()}
    )


def _asked_tables(folder: Path, tables: str | Sequence[str] | None, reference: bool) -> list[str]:
    """Return the names of the asked tables that are finished; `UserError` where one or all are not there."""
    finished = sorted(path.name.removesuffix(_PROVENANCE) for path in (folder / "tables").glob(f"*{_PROVENANCE}"))
    asked = finished if tables is None else [tables] if isinstance(tables, str) else list(tables)
    where = f"results/{'reference/' if reference else ''}{folder.name}"
    if not finished and reference:
        known = sorted({path.parents[1].name for path in folder.parent.glob(f"*/tables/*{_PROVENANCE}")})
        raise UserError(f"{where} has no tables; the reference results with tables are {listed(known)}")
    if not finished:
        raise UserError(f"{where} has no tables: make one first, e.g. with `snakemake --cores 8 table1`")
    for name in asked:
        if name not in finished:
            raise UserError(f"{where} has no table `{name}`; there are {listed(finished)}")
    return asked


def _record(path: Path) -> dict[str, Any]:
    """Read a table's provenance; `UserError` where it does not say what the table was made from."""
    record = read_document(path)
    if not isinstance(record, dict) or not {"identity", "inputs", "outputs", "spec"} <= set(record):
        raise UserError(f"{path} does not hold a provenance: make the table again with `kdx2i table`")
    return record


def _plan(root: Path, preset: str, seeds: tuple[int, ...]) -> Plan | None:
    """Return the plan that the tables of these seeds belong to, or None where the preset is not there any more."""
    try:
        return make_plan(root, preset, seeds)
    except UserError:
        return None


def _planned_identity(plan: Plan | None, table: str) -> str | None:
    """Return the identity that a table would have now, or None where the plan has no such table."""
    if plan is None or table not in plan.tables:
        return None
    return plan.rendered(table).identity


def _rows(table: Table, entries: Entries) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in its order, without the columns that are the same in all of them."""
    for part in table.parts:
        for row in part.rows:
            for cell in row.cells:
                of_cell = {
                    "part": part.name,
                    "kind": row.kind,
                    "label": row.label,
                    "architecture": row.architecture,
                    "transfer": row.transfer,
                    "mode": part.mode,
                    "dataset": cell.dataset,
                    "used_dataset": table.context.datasets.get(cell.dataset),
                    "resolution": row.resolution,
                    "used_resolution": row.actual_resolution,
                    "metric": cell.metric,
                    "direction": METRICS[cell.metric].direction,
                    "mean": cell.mean,
                    "low": cell.interval[0] if cell.interval else None,
                    "high": cell.interval[1] if cell.interval else None,
                }
                if row.kind == "control":
                    yield of_cell | _control(cell)
                else:
                    of_seeds = entries.get(f"{part.name}/{row.label}/{cell.dataset}", {})
                    yield from (of_cell | _of_seed(cell, seed, of_seeds) for seed in table.context.seeds)


def _control(cell: Cell) -> dict[str, Any]:
    """Return the one number of a control, which has no seed."""
    value = cell.values[0] if cell.values else None
    return {"seed": None, "value": value, "absent": cell.reason or None, **_of_only_value(cell)._asdict()}


def _of_seed(cell: Cell, seed: int, of_seeds: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the number of one seed, or why there is none."""
    if seed not in cell.seeds:
        return {"seed": seed, "absent": _reason(cell, seed)}
    if len(cell.seeds) == 1:
        measurement = _of_only_value(cell)
    else:
        entry = of_seeds.get(seed, {}).get(cell.metric, {})
        measurement = Measurement(*(entry.get(field) for field in Measurement._fields))
    return {"seed": seed, "value": cell.values[cell.seeds.index(seed)], **measurement._asdict()}


def _of_only_value(cell: Cell) -> Measurement:
    """Return what a cell of one value says about it."""
    n_real, n_generated = (counts[0] if counts else None for counts in (cell.real, cell.generated))
    return Measurement(cell.standard_error, n_real, n_generated)


def _reason(cell: Cell, seed: int) -> str:
    """Return why a cell has no number of a seed: the sentences of that seed, else those of no seed."""
    matches = [(sentence, _OF_ONE_SEED.fullmatch(sentence)) for sentence in cell.absent]
    own = [match[2] for _, match in matches if match and int(match[1]) == seed]
    return "; ".join(own or [sentence for sentence, match in matches if match is None])


def _entries(folder: Path, record: Mapping[str, Any]) -> Entries:
    """Read the evaluations that a table was made from, where they are still there and still the same.

    `record` is the table's provenance: it names them by cell, with their identities.
    """
    entries: dict[str, dict[int, Mapping[str, Mapping[str, Any]]]] = {}
    for cell in record["spec"]["cells"]:
        for leaf in cell["leaves"]:
            # A reference has the layout of `results/<preset>/` under another name.
            place = folder.joinpath(*Path(leaf).parts[2:])
            if not (place / "provenance.json").is_file() or not (place / "metrics.json").is_file():
                continue
            evaluation = read_document(place / "provenance.json")
            if evaluation.get("identity") == record["inputs"].get(leaf):
                values = read_document(place / "metrics.json").get("values", {})
                entries.setdefault(cell["cell"], {})[evaluation["seed"]] = values
    return entries
