"""One row of a table of `paper-smoke`, from its archive to its verdict, in a copy of the repository."""

import importlib
from pathlib import Path

import smoke_inputs
import yaml
from repository import clone

from kdx2i.plan import Plan
from kdx2i.stages import compare
from kdx2i.suite import make_plan
from kdx2i.tables.comparison import Comparison


def row_alone(target: Path, table: str, part: str, label: str, dataset: str) -> Plan:
    """Make a copy whose only table has one row and one column of data sets, with what the preset needs for it."""
    root = clone(target)
    folder = root / "benchmarks" / "tables"
    config = yaml.safe_load((folder / f"{table}.yaml").read_text())
    own = next(entry for entry in config["parts"] if entry["name"] == part)
    if "datasets" in own:
        own["datasets"] = [dataset]
    rows = [row for row in config["rows"] if (row["part"], row["label"]) == (part, label)]
    config |= {"parts": [own], "rows": rows, "columns": {**config["columns"], "datasets": [dataset]}}
    for path in folder.glob("*.yaml"):
        path.unlink()
    (folder / f"{table}.yaml").write_text(yaml.safe_dump(config))
    smoke_inputs.make(root)
    return make_plan(root, smoke_inputs.PRESET)


def run_row(plan: Plan) -> Comparison:
    """Run every stage behind the only table of a plan, and compare it with the published numbers."""
    (table,) = plan.tables
    for leaf in plan.rendered(table).upstream():
        importlib.import_module(f"kdx2i.stages.{leaf.kind.stage}").run(plan, leaf)
    return compare.run(plan, plan.comparison([table]))[0]
