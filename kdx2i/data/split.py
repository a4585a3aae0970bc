"""Make a dataset's folder (`split.csv`, `conditions.csv` and their files) from its YAML, and check that it is whole."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from kdx2i.config import DatasetConfig
from kdx2i.data.conditions.checking import condition_problems
from kdx2i.data.conditions.condition_rows import CONDITION_TABLE, CONDITIONS, ConditionRow, write_condition_rows
from kdx2i.data.conditions.making import ConditionWriter
from kdx2i.data.decode import pixels_sha256, read_rgb
from kdx2i.data.manifest import ROLES, Role
from kdx2i.data.reader import Entry, Item, Reader
from kdx2i.data.readers import build_reader
from kdx2i.data.roles import assign_roles
from kdx2i.data.rows import IMAGES, TABLE, ImageRow, read_rows, write_rows
from kdx2i.errors import UserError
from kdx2i.files import write_bytes

# Only files of the split may be in these.
FOLDERS = (IMAGES, CONDITIONS)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")


def make_split(dataset: DatasetConfig, assets_root: Path, out_dir: Path, *, progress: bool = True) -> Path:
    """Write a dataset's images, conditions and tables below `out_dir` and return the path of `split.csv`.

    Relative paths of the dataset's source start at `assets_root`. The tables are removed first and written
    last, so a table that is there describes files that are there; `conditions.csv` is only there for a dataset
    that has conditions. Files in `images/` and `conditions/` that are not part of the split are removed, all of them
    where the source is refused. The same dataset, seed and source give the same bytes. `progress` shows a bar on
    stderr.
    """
    reader = build_reader(dataset, assets_root)
    for folder in FOLDERS:
        _keep_sources_safe(dataset, assets_root, out_dir / folder)
    entries = reader.entries()
    roles = assign_roles(entries, dataset.split)
    _require_counts(dataset, entries, roles)
    stems = image_stems([entry for entry in entries if entry.source in roles])
    conditions = ConditionWriter(dataset, out_dir, _write_if_new)
    table, condition_table = out_dir / TABLE, out_dir / CONDITION_TABLE
    table.unlink(missing_ok=True)
    condition_table.unlink(missing_ok=True)
    try:
        items = _tracked(reader, stems, dataset.name, progress)
        rows, condition_rows = _write_files(dataset, out_dir, items, conditions, stems, roles)
    except UserError:
        _remove_strangers(out_dir, set())
        raise
    _remove_strangers(out_dir, {row.image for row in rows} | {row.file for row in condition_rows})
    if dataset.conditions:
        write_condition_rows(condition_table, condition_rows)
    write_rows(table, rows)
    return table


def _write_files(
    dataset: DatasetConfig,
    out_dir: Path,
    items: Iterable[Item],
    conditions: ConditionWriter,
    stems: Mapping[str, str],
    roles: Mapping[str, Role],
) -> tuple[list[ImageRow], list[ConditionRow]]:
    """Write images and condition files and return the rows of both tables; a source that lacks images is refused."""
    rows, condition_rows = [], conditions.descriptions()
    for item in items:
        stem = stems[item.entry.source]
        image = f"{IMAGES}/{stem}{item.suffix}"
        _write_if_new(out_dir / image, item.encoded)
        condition_rows += conditions.of_image(item, image, stem)
        rows.append(
            ImageRow(
                image=image,
                label=item.entry.label,
                role=roles[item.entry.source],
                group=item.entry.group,
                source=item.entry.source,
                source_sha256=item.source_sha256,
                pixels_sha256=pixels_sha256(item.image),
            )
        )
    missing = set(roles) - {row.source for row in rows}
    if missing:
        raise UserError(f"dataset {dataset.name}: its source lacks {len(missing)} images ({min(missing)!r})")
    _require_disjoint(dataset, rows, f"dataset {dataset.name}")
    return rows, condition_rows


def _require_counts(dataset: DatasetConfig, entries: Sequence[Entry], roles: Mapping[str, Role]) -> None:
    """Raise `UserError` where classes or images are not as many as the published set has."""
    used = Counter(roles.values())
    for what, expected, found in (
        ("classes", dataset.expects.classes, len({entry.label for entry in entries if entry.source in roles})),
        ("training images", dataset.expects.train, used["train"]),
        ("test images", dataset.expects.test, used["test"]),
    ):
        if expected is not None and found != expected:
            raise UserError(
                f"dataset {dataset.name}: its source gives {found} {what}, but {expected} are published "
                f"(`expects` in benchmarks/datasets/{dataset.name}.yaml): is it whole?"
            )


def _tracked(reader: Reader, stems: dict[str, str], name: str, progress: bool) -> Iterable[Item]:
    """Wrap the reader's items in a progress bar."""
    return track(
        reader.items(stems.keys()),
        description=f"split {name}",
        total=len(stems),
        console=Console(stderr=True),
        disable=not progress,
    )


def image_stems(entries: Sequence[Entry]) -> dict[str, str]:
    """Return `<class>/<name>` for each entry, by its source: what its files are called, without their endings.

    Letters that a file name may not hold become `_`. Where two classes, or two images of a class, then look
    alike (also to a file system without capital letters), all of them carry a part of a checksum.
    """
    labels = _distinct({entry.label: entry.label for entry in entries})
    by_label: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        by_label[entry.label][entry.source] = entry.stem
    return {
        source: f"{labels[label]}/{stem}"
        for label, stems in by_label.items()
        for source, stem in _distinct(stems).items()
    }


def _distinct(names: dict[str, str]) -> dict[str, str]:
    """Map keys to file names made from `names`, all different."""
    plain = {key: _NOT_IN_NAMES.sub("_", name)[:100].lstrip(".") or "_" for key, name in names.items()}
    users: dict[str, int] = defaultdict(int)
    for name in plain.values():
        users[name.lower()] += 1
    return {
        key: name if users[name.lower()] == 1 else f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        for key, name in plain.items()
    }


def _write_if_new(path: Path, data: bytes) -> None:
    """Write a file unless the same bytes are there."""
    if not (path.is_file() and path.read_bytes() == data):
        write_bytes(path, data)


def _require_disjoint(dataset: DatasetConfig, rows: Sequence[ImageRow], name: str) -> None:
    """Raise `UserError`, which starts with `name`, for classes with both roles where the rule says `disjoint`."""
    train, test = ({row.label for row in rows if row.role == role} for role in ROLES)
    if dataset.split.disjoint and train & test:
        raise UserError(
            f"{name} has the class {min(train & test)!r} in both train and test ({len(train & test)} such classes), "
            "but its split rule says `disjoint`"
        )


def _keep_sources_safe(dataset: DatasetConfig, assets_root: Path, kept: Path) -> None:
    """Refuse a source that lies in the folder whose unknown files are removed."""
    for source in dataset.source.files.values():
        if source.path is not None and (assets_root / source.path).resolve().is_relative_to(kept.resolve()):
            raise UserError(
                f"dataset {dataset.name}: its source {source.path} lies in {kept}, where only the split's "
                "files may be: move it"
            )


def _files_of(out_dir: Path) -> list[Path]:
    """Return the files in a dataset's folders, sorted; markers of other tools are left out."""
    return sorted(
        path
        for folder in FOLDERS
        for path in (out_dir / folder).rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path.name != ".snakemake_timestamp"
    )


def _remove_strangers(out_dir: Path, known: set[str]) -> None:
    """Remove files of an earlier split, or of a killed run, and folders that are empty then."""
    for path in _files_of(out_dir):
        if path.relative_to(out_dir).as_posix() not in known:
            path.unlink()
    for name in FOLDERS:
        folders = [out_dir / name, *(out_dir / name).rglob("*")]
        for folder in sorted((path for path in folders if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()


def check_split(dataset: DatasetConfig, dataset_dir: Path) -> list[str]:
    """Return one sentence for each problem of a dataset's folder, naming the file; none if it is whole.

    Every image is decoded and its pixels compared with the table, and every condition file with its own; files
    that no table knows, groups with two roles, classes with two roles where the YAML says `disjoint`, repeated
    images and an order that is not the table's are reported too.
    """
    try:
        rows = read_rows(dataset_dir / TABLE)
    except UserError as error:
        return [str(error)]
    problems = _table_problems(dataset_dir / TABLE, rows)
    try:
        _require_disjoint(dataset, rows, str(dataset_dir / TABLE))
    except UserError as error:
        problems.append(str(error))
    for row in rows:
        try:
            if pixels_sha256(read_rgb(dataset_dir / row.image)) != row.pixels_sha256:
                problems.append(f"{dataset_dir / row.image} does not have the pixels that {TABLE} states")
        except UserError as error:
            problems.append(str(error))
    of_conditions, condition_files = condition_problems(dataset, dataset_dir, [row.image for row in rows])
    problems += of_conditions
    known = {row.image for row in rows} | condition_files
    for path in _files_of(dataset_dir):
        if path.relative_to(dataset_dir).as_posix() not in known:
            problems.append(f"{path} is not part of the split: remove it")
    return problems


def _table_problems(table: Path, rows: Sequence[ImageRow]) -> list[str]:
    """Return what is wrong with the table itself."""
    problems = [] if rows else [f"{table} lists no image"]
    if list(rows) != sorted(rows, key=lambda row: (row.label, row.image)):
        problems.append(f"{table} is not sorted by class and image")
    roles: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, set[str]] = {"image": set(), "source": set()}
    for row in rows:
        for what, value in (("image", row.image), ("source", row.source)):
            if value in seen[what]:
                problems.append(f"{table} lists the {what} {value} twice")
            seen[what].add(value)
        if row.group:
            roles[row.group].add(row.role)
    straddling = sorted(group for group in roles if len(roles[group]) > 1)
    return problems + [f"{table} has the group {group} in two roles" for group in straddling]
