"""What a preset reads from outside, given to DVC: archives, weights, and the splits that DVC has no stage for."""

import subprocess
import sys
from collections.abc import Sequence

from kdx2i.errors import UserError
from kdx2i.inspection.preflight import needs
from kdx2i.plan import Plan
from kdx2i.provenance import problem


def to_track(plan: Plan, tables: Sequence[str]) -> list[str]:
    """Return what `dvc add` is to keep, as paths relative to the root: what is there and not in Git or a stage.

    These are the archives in `data/raw`, the files in `weights`, and the whole folder of a split of an archive, once it
    is made: its images take long to extract.
    """
    wanted = [need.name for need in needs(plan, tables) if need.there and need.kind in ("data", "weights")]
    files = [name for name in wanted if name.startswith(("data/raw/", "weights/"))]
    archives = [name for name in plan.datasets if plan.dataset(name).source.kind == "archive"]
    return files + [f"data/{name}" for name in archives if problem(plan.split(name)) is None]


def track(plan: Plan, tables: Sequence[str]) -> list[str]:
    """Give `to_track` to DVC (one `dvc add`) and return it; `UserError` where DVC refuses."""
    paths = to_track(plan, tables)
    if paths:
        done = subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", *paths], cwd=plan.root, check=False)
        if done.returncode:
            raise UserError("`dvc add` failed, as it says above; nothing else may use DVC in this folder meanwhile")
    return paths
