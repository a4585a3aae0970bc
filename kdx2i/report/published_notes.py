"""What the printed numbers say against each other: the notes of `benchmarks/published`."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kdx2i import bounds
from kdx2i.foreign import read_text
from kdx2i.tables.published import CONTRADICTION, CellName, PublishedValue


@dataclass(frozen=True)
class Erratum:
    """One note on printed numbers: where they stand, as they are printed; `contradiction`: the paper says otherwise."""

    where: str
    printed: str
    note: str
    contradiction: bool


def table_errata(published: Mapping[CellName, PublishedValue]) -> list[Erratum]:
    """Return the notes on a table's printed numbers, one for the numbers that share it."""
    sharing: dict[str, list[PublishedValue]] = {}
    for value in published.values():
        if value.note:
            sharing.setdefault(value.note, []).append(value)
    return [
        Erratum(
            where=f"{values[0].table}: "
            + "; ".join(dict.fromkeys(f"{v.name.label}, {v.name.dataset}" for v in values)),
            printed=", ".join(f"{value.name.metric} {value.printed}" for value in values),
            note=note.removeprefix(CONTRADICTION).strip(),
            contradiction=note.startswith(CONTRADICTION),
        )
        for note, values in sharing.items()
    ]


def dataset_errata(root: Path) -> list[Erratum]:
    """Return the notes on the sizes of datasets that the paper gives (`benchmarks/published/datasets.csv`)."""
    text = read_text(root / "benchmarks" / "published" / "datasets.csv", bounds.SETTINGS_BYTES)
    lines = [line for line in csv.DictReader(text.splitlines()) if line["note"].startswith(CONTRADICTION)]
    return [
        Erratum(
            where=f"{line['where']}: {line['dataset']}, {line['quantity']}",
            printed=line["value"],
            note=line["note"].removeprefix(CONTRADICTION).strip(),
            contradiction=True,
        )
        for line in lines
    ]
