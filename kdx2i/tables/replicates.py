"""The values of a reference's cells by seed and machine: what its spread is estimated from (`spread.csv`)."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kdx2i.errors import UserError
from kdx2i.files import write_csv
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.model import Table

FILE = "spread.csv"
"""The name of the file in a reference's folder."""


class CellKey(NamedTuple):
    """One number of a table: a row (`part`, `label`) by a column (`dataset`, `metric`)."""

    table: str
    part: str
    label: str
    dataset: str
    metric: str


class Replicate(NamedTuple):
    """The value of a cell from one seed on one machine."""

    cell: CellKey
    seed: int
    machine: str
    value: float


COLUMNS = (*CellKey._fields, "seed", "machine", "value")


def replicates_of(table: Table, machine: str) -> Iterator[Replicate]:
    """Yield the values of a table's methods that were made on `machine`."""
    for part in table.parts:
        for row in part.methods():
            for cell in row.cells:
                key = CellKey(table.name, part.name, row.label, cell.dataset, cell.metric)
                yield from (
                    Replicate(key, seed, machine, value) for seed, value in zip(cell.seeds, cell.values, strict=True)
                )


def write_replicates(path: Path, replicates: Iterable[Replicate]) -> None:
    """Write `spread.csv`: one line for each value, in full precision."""
    rows = [
        {**item.cell._asdict(), "seed": item.seed, "machine": item.machine, "value": repr(item.value)}
        for item in replicates
    ]
    write_csv(path, COLUMNS, rows)


def read_replicates(path: Path) -> list[Replicate]:
    """Read `spread.csv`; a file of another form raises `UserError` naming it."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a readable CSV file: {error}") from None
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise UserError(f"{path}: the columns must be {', '.join(COLUMNS)}")
    try:
        found = [
            Replicate(
                CellKey(*(row[field] for field in CellKey._fields)),
                int(row["seed"]),
                row["machine"],
                float(row["value"]),
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} does not hold seeds and numbers: make the reference again") from None
    unknown = sorted({item.cell.metric for item in found} - set(METRICS))
    if unknown:
        raise UserError(f"{path} names the metric `{unknown[0]}`, which the suite does not have")
    return found
