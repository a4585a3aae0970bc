"""The paper's numbers, as printed: `benchmarks/published/<table>.csv` in long form."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS, Direction

COLUMNS = ("table", "part", "dataset", "label", "metric", "value", "direction", "resolution", "note")
CONTRADICTION = "contradiction:"


class CellName(NamedTuple):
    """Where a number stands within its table: part, dataset (the paper's name), row label and metric."""

    part: str
    dataset: str
    label: str
    metric: str


@dataclass(frozen=True)
class PublishedValue:
    """One printed number: `printed` is the exact string, `resolution` in pixels where the paper says it."""

    table: str
    name: CellName
    printed: str
    direction: Direction
    resolution: int | None = None
    note: str = ""

    @property
    def value(self) -> Decimal:
        """The number itself, exact, without the percent sign that mIoU is printed with."""
        return Decimal(self.printed.removesuffix("%"))

    @property
    def half_unit(self) -> Decimal:
        """Half a unit of the last printed digit: 0.05 for 96.2."""
        exponent = self.value.as_tuple().exponent
        return Decimal(5).scaleb(int(exponent) - 1)

    @property
    def interval(self) -> tuple[Decimal, Decimal]:
        """The numbers that round to what is printed, as a closed interval."""
        return self.value - self.half_unit, self.value + self.half_unit

    @property
    def contradicted(self) -> bool:
        """Whether the paper itself contradicts this number; `note` says where."""
        return self.note.startswith(CONTRADICTION)


Published = Mapping[CellName, PublishedValue]


def read_published(root: Path, table: str) -> dict[CellName, PublishedValue]:
    """Load the printed numbers of a table; a broken or missing file raises `UserError` with file and line."""
    path = root / "benchmarks" / "published" / f"{table}.csv"
    values: dict[CellName, PublishedValue] = {}
    for line, row in enumerate(_rows(path), start=2):
        value = _value(row, table, f"{path.name}, line {line}")
        if value.name in values:
            raise UserError(f"{path.name}, line {line}: {'/'.join(value.name)} stands twice")
        values[value.name] = value
    return values


def _rows(path: Path) -> list[dict[str, str]]:
    """Read the lines of the CSV, whose heading must be `COLUMNS`."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            rows = list(reader)
            heading = tuple(reader.fieldnames or ())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: the published numbers of this table are needed") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a readable CSV file: {error}") from None
    if heading != COLUMNS:
        raise UserError(f"{path}: the columns must be {', '.join(COLUMNS)}")
    if any(None in row or None in row.values() for row in rows):
        raise UserError(f"{path}: a line has more or fewer fields than the heading")
    return rows


def _value(row: Mapping[str, str], table: str, where: str) -> PublishedValue:
    """Check one line: its table, metric, direction, number and resolution."""
    if row["table"] != table:
        raise UserError(f"{where}: the column `table` says `{row['table']}` in the file of {table}")
    if row["metric"] not in METRICS:
        known = ", ".join(METRICS)
        raise UserError(f"{where}: the metric `{row['metric']}` is unknown; there are {known}")
    direction = METRICS[row["metric"]].direction
    if row["direction"] != direction:
        raise UserError(f"{where}: {row['metric']} is better when {direction}, not `{row['direction']}`")
    digits = row["value"].removesuffix("%").removeprefix("-").replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()):
        raise UserError(f"{where}: `{row['value']}` is not a printed number")
    if row["resolution"] and not row["resolution"].isdigit():
        raise UserError(f"{where}: the resolution `{row['resolution']}` is not a number of pixels")
    return PublishedValue(
        table=table,
        name=CellName(row["part"], row["dataset"], row["label"], row["metric"]),
        printed=row["value"],
        direction=direction,
        resolution=int(row["resolution"]) if row["resolution"] else None,
        note=row["note"],
    )
