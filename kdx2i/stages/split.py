"""Stage `split`: a published archive or the embedded pack -> `data/<dataset>/`: tables, images, conditions."""

from kdx2i.config import load_dataset
from kdx2i.data.split import check_split, make_split
from kdx2i.errors import UserError
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import SplitSpec
from kdx2i.provenance import write_provenance


def run(plan: Plan, leaf: Leaf[SplitSpec], *, progress: bool = True) -> None:
    """Make the images, the conditions and the tables of a split."""
    leaf.provenance_path.unlink(missing_ok=True)
    make_split(load_dataset(plan.root, leaf.spec.name), plan.root, leaf.folder, progress=progress)
    write_provenance(plan, leaf)


def check(leaf: Leaf[SplitSpec]) -> None:
    """Read every file of a split again; the first problem raises `UserError`, which names the file."""
    problems = check_split(load_dataset(leaf.root, leaf.spec.name), leaf.folder)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}")
