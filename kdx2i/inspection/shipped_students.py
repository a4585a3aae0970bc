"""Whether the shipped students of a preset are what the code, teachers and settings here would make."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from kdx2i.config import names_in
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.foreign import read_document
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.shipped import read_shipped
from kdx2i.provenance import difference

FOLDER = Path("benchmarks") / "students"


class Notice(NamedTuple):
    """What is to be known of a shipped student; `corrupt` is a fault, `other` only says that it is older."""

    kind: Literal["corrupt", "other"]
    sentence: str


def named_students(plan: Plan) -> list[str]:
    """Return the paths of the shipped students that a preset names, sorted."""
    by_transfer = [files for transfers in plan.preset.students.values() for files in transfers.values()]
    return sorted({path for files in by_transfer for path in files.values()})


def notices(plan: Plan) -> list[Notice]:
    """Return what is to be known of the shipped students of a preset: nothing where all are what is here would make.

    A student that other code, another teacher or other settings made still serves: its file is what a run's identity
    holds. But what a new one would be is not what is shipped.
    """
    return [notice for path in named_students(plan) if (notice := _notice(plan, path)) is not None]


def _notice(plan: Plan, path: str) -> Notice | None:
    """Return what is to be known of one shipped student."""
    try:
        shipped = read_shipped(plan.root / path)
    except UserError as error:
        return Notice("corrupt", str(error))
    beside = (plan.root / path).with_suffix(".provenance.json")
    document = _document(beside)
    if document.get("sha256") != sha256_file(plan.root / path):
        return Notice("corrupt", f"{path} is corrupt: it is not the file that {beside.name} beside it states")
    if shipped.name not in names_in(plan.root / FOLDER):
        return Notice("other", f"{path} has no recipe in {FOLDER}: what made it cannot be told")
    try:
        leaf: Leaf[Any] = plan.student(shipped.name)
    except UserError as error:
        return Notice("other", f"{path} was made by other code or settings: {error}")
    if leaf.identity == shipped.identity:
        return None
    return Notice("other", f"{path} was made by other code, settings or teacher: {difference(leaf, document)}")


def _document(path: Path) -> dict[str, Any]:
    """Return a shipped student's provenance, empty where there is none."""
    try:
        document = read_document(path)
    except UserError:
        return {}
    return document if isinstance(document, dict) else {}
