"""A copy of the repository with made-up results that a report can read: logs are logs, grids are pictures."""

from pathlib import Path

from PIL import Image
from repository import fabricate_all

from kdx2i.files import write_text
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import write_provenance
from kdx2i.stages import compare, report, table
from kdx2i.suite import make_plan


def finished(root: Path) -> tuple[Plan, Leaf]:
    """Make up the results behind Table 1, with logs and grids that can be read, and make the table and comparison."""
    plan = make_plan(root, "open-smoke")
    for leaf in fabricate_all(plan, "table1"):
        if "samples.png" in leaf.outputs:
            Image.new("RGB", (8, 8), "red").save(leaf.file("samples.png"))
        if "log.jsonl" in leaf.outputs:
            write_text(leaf.file("log.jsonl"), '{"step": 0, "adv": 1.0}\n{"step": 1, "adv": 0.5}\n')
        write_provenance(plan, leaf)
    table.run(plan, plan.rendered("table1"))
    compare.run(plan, plan.comparison(["table1"]))
    return plan, report.current_report(plan, ["table1"])
