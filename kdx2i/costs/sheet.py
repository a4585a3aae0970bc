"""The file of a preset's costs, `benchmarks/costs/<preset>.csv`: one row a job. Torch-free."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kdx2i.files import sha256_json, write_text
from kdx2i.plan import Leaf

GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """What one job costs.

    `settings`: what of its spec decides that (`settings_of`). `hours` on one H100, 0 where none are counted, and no
    `settings`; `how`: `measured`, `computed`, or why not counted. In bytes: `gpu`, what is alive on the GPU at most, 0
    where not counted; `checkpoint`, one of a training; `published`, what it writes for good.
    """

    job: str
    kind: str
    settings: str
    hours: float
    how: str
    gpu: int = 0
    checkpoint: int = 0
    published: int = 0


def settings_of(leaf: Leaf[Any]) -> str:
    """Return the hash of what decides a job's cost: its spec, without the seed and choices of the register."""
    spec = {key: value for key, value in leaf.spec.as_json().items() if key not in ("seed", "protocol")}
    return sha256_json(spec)[:12]


def path_of(root: Path, preset: str) -> Path:
    """Return the path of a preset's costs."""
    return root / "benchmarks" / "costs" / f"{preset}.csv"


def write_costs(root: Path, preset: str, costs: Iterable[Cost]) -> Path:
    """Write the costs of a preset and return the path."""
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in fields(Cost)], lineterminator="\n")
    writer.writeheader()
    for cost in costs:
        writer.writerow({**asdict(cost), "hours": f"{cost.hours:.6f}"})
    path = path_of(root, preset)
    path.parent.mkdir(exist_ok=True)
    write_text(path, table.getvalue())
    return path


def read_costs(root: Path, preset: str) -> Mapping[str, Cost]:
    """Return the costs of a preset by job, of the first seed; none where they were never counted."""
    path = path_of(root, preset)
    if not path.is_file():
        return {}
    numbers = ("gpu", "checkpoint", "published")
    with path.open(newline="", encoding="utf-8") as handle:
        rows: list[dict[str, Any]] = list(csv.DictReader(handle))
    read = [row | {"hours": float(row["hours"])} | {name: int(row[name]) for name in numbers} for row in rows]
    return {row["job"]: Cost(**row) for row in read}
