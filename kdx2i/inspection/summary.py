"""A preset's state as Markdown, for the summary of a job of continuous integration."""

from collections import Counter
from typing import Any, get_args

from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.inspection.verify import verify
from kdx2i.plan import Plan
from kdx2i.provenance import kinds_of_machine, problem
from kdx2i.tables.verdict import VerdictName


def summary(plan: Plan) -> str:
    """Return what is current, on which machine it was computed, the verdicts, and the current tables with their notes.

    The notes of a table hold its budgets, as a share of the paper's iterations.
    """
    findings = verify(plan)
    faults = [finding.problem.sentence for finding in findings if finding.problem is not None]
    leaves = [finding.leaf for finding in findings if finding.leaf is not None and finding.problem is None]
    lines = [f"## Preset {plan.preset.name}", ""]
    lines += [f"- {len(findings) - len(faults)} of {len(findings)} results are current and whole"]
    lines += [f"- {sentence}" for sentence in faults[:10]]
    lines += [f"- computed on {kind}: {len(names)} results" for kind, names in kinds_of_machine(leaves).items()]
    lines += _verdicts(plan)
    for name in plan.tables:
        table = plan.rendered(name)
        if problem(table) is None:
            text = table.file(f"{name}.md").read_text(encoding="utf-8")
            lines += ["", f"<details><summary>{name}</summary>", "", text.rstrip(), "", "</details>"]
    return "\n".join(lines) + "\n"


def _verdicts(plan: Plan) -> list[str]:
    """Return one line with the number of cells of each verdict in the comparison on disk; none without one."""
    try:
        document: Any = read_document(plan.root / plan.results / "comparison.json")
        counts = Counter(cell["verdict"] for cell in document["cells"])
    except (UserError, KeyError, TypeError):
        return []
    return ["- verdicts: " + ", ".join(f"{counts[name]} {name}" for name in get_args(VerdictName))]
