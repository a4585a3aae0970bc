"""After `dvc pull`, or on a new machine: keep what is still true, remove the rest.

Snakemake decides by the identities in the results whether a result is current, so a clone needs no
time stamps and no records of Snakemake; but what was pulled may be stale or damaged.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdx2i.config import listed
from kdx2i.data.conditions.condition_rows import CONDITION_TABLE, read_condition_rows
from kdx2i.data.rows import TABLE, read_rows
from kdx2i.errors import UserError
from kdx2i.files import write_bytes
from kdx2i.inspection.verify import Finding, verify, whole_problem
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import problem
from kdx2i.stages import split


def restore(
    plan: Plan, *, make_split: Callable[[Plan, Leaf[Any]], None] = split.run, dry_run: bool = False
) -> list[Finding]:
    """Remove stale and corrupt results, make the images of pulled splits again, and return what was removed.

    DVC keeps a split's tables; its images and conditions are made from the same source by `make_split`, and must
    be the same: a table that comes out otherwise raises `UserError`, and the pulled one is kept. With `dry_run`
    nothing is changed.
    """
    for dataset in plan.datasets:
        leaf = _split_of(plan, dataset)
        fault = whole_problem(leaf) if leaf is not None and leaf.file("split.csv").is_file() else None
        if leaf is None or fault is None or dry_run:
            continue
        if fault.kind == "missing":
            _make_as_pulled(plan, leaf, make_split)
        else:
            make_split(plan, leaf)
    bad = [f for f in verify(plan) if f.problem is not None and f.problem.kind in ("stale", "corrupt")]
    if not dry_run:
        for finding in bad:
            remove(plan.root, finding)
    return bad


def restore_images(plan: Plan, *, make_split: Callable[[Plan, Leaf[Any]], None] = split.run) -> list[Leaf[Any]]:
    """Make the images and conditions of pulled splits again where a file is missing, and return those splits.

    Nothing else is looked at, and nothing removed. A split that comes out otherwise than it was pulled raises
    `UserError`.
    """
    made = []
    for dataset in plan.datasets:
        leaf = _split_of(plan, dataset)
        if leaf is None or problem(leaf) is not None:
            continue  # Snakemake makes it.
        files = [row.image for row in read_rows(leaf.file(TABLE))]
        if CONDITION_TABLE in leaf.outputs:
            files += [row.file for row in read_condition_rows(leaf.file(CONDITION_TABLE))]
        if not all((leaf.folder / name).is_file() for name in files):
            provenance = leaf.provenance_path.read_bytes()
            _make_as_pulled(plan, leaf, make_split)
            write_bytes(leaf.provenance_path, provenance)  # DVC keeps it, and nothing that it says has changed.
            made.append(leaf)
    return made


def _make_as_pulled(plan: Plan, leaf: Leaf[Any], make_split: Callable[[Plan, Leaf[Any]], None]) -> None:
    """Make a split again whose tables were pulled, and refuse tables that differ from them."""
    pulled = {name: leaf.file(name).read_bytes() for name in leaf.outputs if leaf.file(name).is_file()}
    make_split(plan, leaf)
    differing = [name for name, content in pulled.items() if leaf.file(name).read_bytes() != content]
    if differing:
        # Without a provenance the split counts as not made: its images are not those of the pulled tables.
        leaf.provenance_path.unlink(missing_ok=True)
        for name, content in pulled.items():
            write_bytes(leaf.file(name), content)
        raise UserError(
            f"{leaf.name} cannot be made as it was pulled: {listed(differing)} comes out otherwise here (another "
            "version of a renderer or synthesiser, or another source), and the pulled one is kept; "
            f"`kdx2i split --dataset {leaf.folder.name}` makes a split of its own",
            whole=True,
        )


def _split_of(plan: Plan, dataset: str) -> Leaf[Any] | None:
    return plan.split(dataset) if (plan.root / "data" / dataset).is_dir() else None


def remove(root: Path, finding: Finding) -> None:
    """Remove a result: its provenance first, so that it is never taken for a whole one."""
    (root / finding.provenance).unlink(missing_ok=True)
    if finding.leaf is not None:
        for name in finding.leaf.outputs:
            finding.leaf.file(name).unlink(missing_ok=True)
