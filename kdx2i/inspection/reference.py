"""Reference results: tables and the evidence behind them, without weights, under `results/reference/<name>/`."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdx2i.files import write_bytes
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import SPLIT, TABLE
from kdx2i.provenance import require_current


def export(plan: Plan, tables: Sequence[str], name: str, *, samples: bool = True) -> Path:
    """Copy current tables, their leaves' metrics, logs and provenance, and return the folder.

    The table of stage 1 is copied with them where it has been made.

    `samples` keeps the first seed's sample grids. Every leaf must be current. An older export of that name is
    replaced as a whole.
    """
    rendered: list[Leaf[Any]] = [plan.rendered(table) for table in tables]
    measures = plan.stage1_if_any()
    if measures is not None and measures.provenance_path.is_file():
        rendered.append(measures)
    leaves = {leaf.name: leaf for table in rendered for leaf in table.upstream()}
    require_current(leaves.values())
    target = plan.root / "results" / "reference" / name
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for leaf in leaves.values():
        if leaf.kind is SPLIT:
            continue
        place = fresh / leaf.directory.relative_to(plan.results)
        first = leaf.kind.first_seed if samples and leaf.address.get("seed") == plan.seeds[0] else ()
        names = [output for output in leaf.outputs if output in (*leaf.kind.evidence, *first) or leaf.kind is TABLE]
        for output in [*names, leaf.provenance]:
            write_bytes(place / output, leaf.file(output).read_bytes())
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return target
