"""The table of a split, `split.csv`: its rows, its reading, and the split that the other rooms use."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from kdx2i import bounds
from kdx2i.data.manifest import ROLES, Role
from kdx2i.errors import UserError
from kdx2i.files import write_csv
from kdx2i.foreign import read_text, refusing

TABLE = "split.csv"
IMAGES = "images"
COLUMNS = ("image", "class", "role", "group", "source", "source_sha256", "pixels_sha256")
Selection = Literal["train", "test", "all"]
RowType = TypeVar("RowType")


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of a split.

    `image` is its path below the dataset's folder (POSIX), `group` its near-duplicate group or empty,
    `source` its original name, `source_sha256` the checksum of the source's bytes (the SVG body, the
    archive's member), `pixels_sha256` that of `decode.pixels_sha256`.
    """

    image: str
    label: str
    role: Role
    group: str
    source: str
    source_sha256: str
    pixels_sha256: str


def write_rows(path: Path, rows: Iterable[ImageRow]) -> None:
    """Write `split.csv` atomically, sorted by class and image."""
    ordered = sorted(rows, key=lambda row: (row.label, row.image))
    write_csv(path, COLUMNS, [dict(zip(COLUMNS, _values(row), strict=True)) for row in ordered])


def _values(row: ImageRow) -> tuple[str, ...]:
    return (row.image, row.label, row.role, row.group, row.source, row.source_sha256, row.pixels_sha256)


def read_rows(path: Path) -> list[ImageRow]:
    """Read `split.csv`; a missing or malformed table raises `UserError` naming the file and the line."""
    return read_table(path, COLUMNS, _row)


def read_table(path: Path, columns: Sequence[str], build: Callable[[list[str], str], RowType]) -> list[RowType]:
    """Read a table of a split: `build` makes a row of a line's values and of where it stands; errors as `read_rows`."""
    text = read_text(path, bounds.TABLE_BYTES, f"run `kdx2i split --dataset {path.parent.name}`")
    with refusing(f"{path} is not a readable table"):
        reader = csv.reader(io.StringIO(text, newline=""))
        if tuple(next(reader, ())) != tuple(columns):
            raise UserError(f"{path} must have the columns {', '.join(columns)}")
        return [build(values, f"{path}, line {reader.line_num}") for values in reader]


def _row(values: list[str], where: str) -> ImageRow:
    """Build one row, refusing an image whose path leaves the folder of images."""
    if len(values) != len(COLUMNS):
        raise UserError(f"{where}: {len(values)} values instead of {len(COLUMNS)}")
    image, label, role_text, group, source, source_sha256, pixels_sha256 = values
    role = next((role for role in ROLES if role == role_text), None)
    parts = PurePosixPath(image).parts
    if role is None:
        raise UserError(f"{where}: the role is {role_text!r}, not train or test")
    if not parts or parts[0] != IMAGES or ".." in parts or "\\" in image or "\0" in image:
        raise UserError(f"{where}: the image {image!r} does not lie in the folder {IMAGES}")
    return ImageRow(image, label, role, group, source, source_sha256, pixels_sha256)


@dataclass(frozen=True, eq=False)
class Split:
    """A dataset's split, read from `data/<dataset>/split.csv`.

    `rows` are sorted by class and image; `classes` are the sorted labels of both roles, whose positions
    are the class indices everywhere.
    """

    dataset_dir: Path
    rows: list[ImageRow] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset_dir", Path(self.dataset_dir))
        object.__setattr__(self, "rows", read_rows(self.dataset_dir / TABLE))

    @property
    def name(self) -> str:
        """The dataset's name, which is its folder's."""
        return self.dataset_dir.resolve().name

    @cached_property
    def classes(self) -> list[str]:
        """The labels of all rows, sorted."""
        return sorted({row.label for row in self.rows})

    def classes_of(self, role: Role) -> list[str]:
        """Return the labels that have images of a role, sorted: where a split is class-disjoint, no role shares one."""
        return sorted({row.label for row in self.rows if row.role == role})

    def select(self, role: Selection) -> list[ImageRow]:
        """Return the rows of a role, or all rows; an empty selection raises `UserError`."""
        rows = [row for row in self.rows if role in ("all", row.role)]
        if not rows:
            raise UserError(f"{self.dataset_dir / TABLE} has no image of the role {role}")
        return rows
