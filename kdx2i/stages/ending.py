"""What a workflow ends with on the screen, in 80 columns: its tables, the agreement, the claims, and how to go on."""

import shlex
from collections.abc import Sequence

from rich.markup import escape

from kdx2i.errors import UserError
from kdx2i.plan import Plan
from kdx2i.stages.agree import line
from kdx2i.stages.claims import judged, reference_tables
from kdx2i.stages.console import terminal_screen
from kdx2i.stages.table import show as show_table
from kdx2i.tables.claims import ClaimVerdict
from kdx2i.tables.claims_text import print_claims
from kdx2i.tables.machine import load_table_json
from kdx2i.tables.model import Table


def show(plan: Plan, names: Sequence[str]) -> None:
    """Print tables that are there and current, and all that is said of them."""
    console = terminal_screen()
    for name in names:
        show_table(plan, name)
        if len(names) > 1:
            console.print()
    for name in names:
        line(plan, name, console, named=len(names) > 1)
    tables = {name: load_table_json(plan.rendered(name).file(f"{name}.json")) for name in names}
    _show_claims(plan, tables)
    options = "" if plan.preset_argument == "open" else f" --preset {shlex.quote(plan.preset_argument)}"
    if plan.seeds != tuple(plan.preset.seeds):
        options += f" --seeds {','.join(map(str, plan.seeds))}"
    advised = {
        f"kdx2i compare{options}": "beside the paper's",
        f"kdx2i claims{options}": "each claim, and why",
        f"kdx2i show {names[0]} {_a_cell(tables[names[0]])}{options}": "one number's origin",
    }
    beside = max(map(len, advised)) + 2
    below = beside + max(map(len, advised.values())) > console.width
    console.print()
    for command, what in advised.items():
        apart = "\n    " if below else " " * (beside - len(command))
        console.print(f"[bold]{escape(command)}[/bold]{apart}[dim]{what}[/dim]", highlight=False)


def _show_claims(plan: Plan, tables: dict[str, Table]) -> None:
    """Print the claims that tables carry; those of the preset's reference where the tables have one seed.

    Claims of rows that an edited table has no more are one sentence and no failure: the tables are made.
    """
    console = terminal_screen()
    try:
        verdicts = judged(plan.root, tables)
    except UserError as error:
        console.print(escape(f"\nClaims are not judged: {error}."), style="yellow", highlight=False)
        return
    whose = f"these {len(plan.seeds)} seeds"
    if len(plan.seeds) == 1:
        whose = "this one seed, which tells nothing"
        try:
            kept = reference_tables(plan.root, [plan.preset.name])
        except UserError:  # no reference of the preset's name
            kept = {}
        known = {name: table for name, table in kept.items() if name in tables and len(table.context.seeds) > 1}
        if known:
            seeds = max(len(table.context.seeds) for table in known.values())
            verdicts = judged(plan.root, known)
            whose = f"results/reference/{plan.preset.name} ({seeds} seeds)"
    carried = [verdict for verdict in verdicts if _carried(verdict, tables)]
    if carried:
        decided = [verdict for verdict in carried if verdict.outcome != "cannot tell"]
        of = f"{len(decided)} of {len(carried)} decided by {whose}"
        console.print(f"[bold]Claims of the paper[/bold], {of}{':' if decided else '.'}", highlight=False)
        print_claims(decided, console)


def _carried(verdict: ClaimVerdict, tables: dict[str, Table]) -> bool:
    """Whether tables hold what a claim is about, as far as they have been run."""
    return set(verdict.tables) <= set(tables) and verdict.outcome != "not run"


def _a_cell(table: Table) -> str:
    """Return the first cell that has a number, of the paper's method where there is one, for a shell."""
    rows = [(part, row, cell) for part in table.parts for row in part.methods() for cell in row.cells if cell.values]
    best = next(((p, r, c) for p, r, c in rows if r.label.startswith("Ours")), rows[0] if rows else None)
    return shlex.quote(f"{best[0].name}/{best[1].label}/{best[2].dataset}") if best else ""
