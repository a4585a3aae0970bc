"""Check the condition files of a dataset's folder against their table, the split and the dataset's YAML."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdx2i.config import ConditionKind, DatasetConfig
from kdx2i.data.conditions.condition_rows import CONDITION_TABLE, CONDITIONS, ConditionRow, read_condition_rows
from kdx2i.data.conditions.formats import (
    decode_captions,
    decode_label_map,
    decode_labels,
    decode_speech,
    read_verified_file,
    require_known_labels,
)
from kdx2i.errors import UserError


def condition_problems(dataset: DatasetConfig, dataset_dir: Path, images: Sequence[str]) -> tuple[list[str], set[str]]:
    """Return one sentence for each problem of the conditions of `images`, and the files that the table lists.

    Every file is read, its checksum compared and its content decoded.
    """
    table = dataset_dir / CONDITION_TABLE
    if not dataset.conditions:
        return [f"{table} is there, but dataset {dataset.name} has no conditions"] if table.exists() else [], set()
    try:
        rows = read_condition_rows(table)
    except UserError as error:
        return [str(error)], set()
    problems = _table_problems(dataset, table, rows, images)
    for row in rows:
        try:
            _decode(row, read_verified_file(dataset_dir, row), str(dataset_dir / row.file), dataset.labels)
        except UserError as error:
            problems.append(str(error))
    return problems, {row.file for row in rows}


def _decode(row: ConditionRow, data: bytes, name: str, labels: Sequence[str]) -> None:
    """Raise `UserError` for a file whose content is not what its kind says, whatever its checksum."""
    if row.kind == "label-maps" and not row.image:
        if decode_labels(data, name) != tuple(labels):
            raise UserError(f"{name} does not name the labels that the dataset states")
    elif row.kind == "label-maps":
        require_known_labels(decode_label_map(data, name), labels, name)
    elif row.kind == "captions":
        decode_captions(data, name)
    elif row.image:
        decode_speech(data, name)


def _table_problems(
    dataset: DatasetConfig, table: Path, rows: Sequence[ConditionRow], images: Sequence[str]
) -> list[str]:
    """Return what is wrong with the table itself: order, repeats, files too many and too few."""
    problems = []
    if list(rows) != sorted(rows, key=lambda row: row.order):
        problems.append(f"{table} is not sorted by kind, image and file")
    files = Counter(row.file for row in rows)
    problems += [f"{table} lists the file {file} twice" for file, times in files.items() if times > 1]
    known = set(images)
    for row in rows:
        if row.kind not in dataset.conditions:
            problems.append(f"{table} has {row.kind}, which dataset {dataset.name} does not state (at {row.file})")
        if row.image and row.image not in known:
            problems.append(f"{table} has {row.kind} of {row.image}, which is no image of the split")
    for kind in dataset.conditions:
        counts = Counter(row.image for row in rows if row.kind == kind)
        problems += _count_problems(table, kind, counts, images)
    return problems


def _count_problems(table: Path, kind: ConditionKind, counts: Mapping[str, int], images: Sequence[str]) -> list[str]:
    """Return which images lack a kind or have it twice; only of speech an image has several files."""
    lacking = [image for image in images if not counts[image]]
    repeated = [image for image in images if counts[image] > 1 and kind != "speech"]
    problems = [f"{table} lists no {kind} of {image}" for image in lacking]
    problems += [f"{table} lists the {kind} of {image} twice" for image in repeated]
    if counts[""] != (kind != "captions"):
        problems.append(f"{table} lists {counts['']} files that describe all {kind} ({CONDITIONS}/{kind}.json)")
    return problems
