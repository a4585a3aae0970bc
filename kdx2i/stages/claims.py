"""Stage `claims`: tables and `benchmarks/claims.yaml` -> `results/<preset>/claims.{json,md}`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from kdx2i.config import listed, load_table, names_in
from kdx2i.config.claims import load_claims
from kdx2i.errors import UserError
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import ClaimsSpec
from kdx2i.provenance import require_current, write_provenance
from kdx2i.stages.console import terminal_screen
from kdx2i.tables.claims import ClaimVerdict, judge_claims
from kdx2i.tables.claims_text import count_line, print_claims, write_claims
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.model import Table
from kdx2i.tables.published import read_published


def run(plan: Plan, leaf: Leaf[ClaimsSpec]) -> tuple[ClaimVerdict, ...]:
    """Judge the claims by the tables of `leaf`, which must be current, write the verdicts and return them."""
    require_current(leaf.inputs.values())
    tables = {name: load_table_json(table.file(f"{name}.json")) for name, table in leaf.inputs.items()}
    verdicts = judged(plan.root, tables)
    write_claims(verdicts, f"preset {plan.preset.name}", leaf.folder)
    write_provenance(plan, leaf)
    return verdicts


def show(plan: Plan, tables: Iterable[str]) -> None:
    """Print one line a claim, of verdicts that were made from tables and are current."""
    leaf = plan.claims(tables)
    require_current([leaf])
    verdicts = judged(plan.root, {name: load_table_json(t.file(f"{name}.json")) for name, t in leaf.inputs.items()})
    console = terminal_screen()
    print_claims(verdicts, console)
    console.print(
        f"[bold]{len(verdicts)} claims[/bold] by {plan.preset.name}: {count_line(verdicts)}. "
        f"{leaf.directory}/claims.md has the paper's words and what decided each.",
        highlight=False,
    )


def judged(root: Path, tables: Mapping[str, Table]) -> tuple[ClaimVerdict, ...]:
    """Return what tables, by name, say of the claims of the repository at `root`."""
    known = names_in(root / "benchmarks" / "tables")
    configs = {name: load_table(root, name) for name in known}
    parts = {
        (name, part.name): config.datasets_of(part.name) for name, config in configs.items() for part in config.parts
    }
    published = {name: read_published(root, name) for name in known}
    return judge_claims(load_claims(root), tables, published, parts)


def reference_tables(root: Path, names: Iterable[str]) -> dict[str, Table]:
    """Return the tables of committed references, given by name, together; `UserError` where two have the same table."""
    known = sorted(path.name for path in (root / "results" / "reference").glob("*") if (path / "tables").is_dir())
    tables: dict[str, Table] = {}
    for name in names:
        if name not in known:
            raise UserError(f"there is no reference `{name}` with tables; there are {listed(known)}")
        for path in sorted((root / "results" / "reference" / name / "tables").glob("*.json")):
            if path.name.endswith(".provenance.json"):
                continue
            table = load_table_json(path)
            if table.name in tables:
                raise UserError(f"the reference {name} has {table.name}, and so has one before it: ask for them apart")
            tables[table.name] = table
    return tables
