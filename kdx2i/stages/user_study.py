"""Stage `user_study`: the sample grids of a table -> `results/<preset>/user_study.html` and the key beside it."""

from pathlib import Path

from kdx2i.config.study import load_study
from kdx2i.errors import UserError
from kdx2i.files import write_json, write_text
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import StudySpec
from kdx2i.provenance import require_current, write_provenance
from kdx2i.report.sources import Source, reference_sources
from kdx2i.study.page import key_path, make_study


def run(plan: Plan, leaf: Leaf[StudySpec]) -> None:
    """Write the page and the key of `leaf`; the table whose rows it shows must be there and current."""
    require_current(leaf.inputs.values())
    source = Source(plan.root, plan.results, plan.preset_argument, (leaf.spec.study.table,), ())
    page, key = make_study(source, leaf.spec.study)
    write_text(leaf.file("user_study.html"), page)
    write_json(leaf.file("user_study.json"), key.model_dump(mode="json"))
    write_provenance(plan, leaf)


def write_reference_study(root: Path, name: str, output: Path) -> list[Path]:
    """Write the page on a committed reference to a file, the key beside it, and return both paths."""
    if output.suffix != ".html":
        raise UserError(f"{output} must end with .html: the key is written beside it as .json")
    page, key = make_study(reference_sources(root, [name])[0], load_study(root))
    write_text(output, page)
    write_json(key_path(output), key.model_dump(mode="json"))
    return [output, key_path(output)]
