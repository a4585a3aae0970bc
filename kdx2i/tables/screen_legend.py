"""What the signs of a table on the screen mean: each in a sentence, as far as the table has it."""

from collections.abc import Sequence

from kdx2i.tables.layout import NO_PAPER, SEEN, short_reason, stand_in_line
from kdx2i.tables.model import Table, TablePart
from kdx2i.tables.orders import BASELINE
from kdx2i.tasks.facts import REAL_AGAINST_REAL

UNLEARNED_MARK, UNDISTILLED_MARK = "!", "§"
REFERENCE = "ref."
ENDS = (REAL_AGAINST_REAL, "Blank")
SCALE = "real…blank"
JOINED = "\N{NO-BREAK SPACE}"
SIGNS = (SCALE, REFERENCE, "Ours", UNLEARNED_MARK, UNDISTILLED_MARK, SEEN)


def guided(parts: Sequence[TablePart]) -> list[TablePart]:
    """Return the parts that are given a reference image, of parts that differ in nothing else; else none."""
    with_reference = [part for part in parts if part.mode == "reference"]
    others = {part.mode for part in parts} - {"reference"}
    return with_reference if len(parts) == 2 and others <= {"latent", "map"} and len(others) == 1 else []


def legend(table: Table, file: str) -> str:
    """Return what signs and columns mean, what the numbers are not, and where the rest is.

    `file` is the table's Markdown file, or empty.
    """
    rows = [(row, cell) for part in table.parts for row in part.methods() for cell in row.cells]
    there = [cell for _, cell in rows if cell.mean is not None]
    seeds = len(table.context.seeds)
    over = f"± half a 95 % interval, {seeds} seeds" if seeds > 1 else "one seed, so no interval"
    texts = [f"Cells: here ({over}), then the paper's; ↓ lower, ↑ higher is better."]
    controls = [row for part in table.parts for row in part.controls() if row.label in ENDS]
    if any(cell.mean is not None for row in controls for cell in row.cells):
        texts.append(f"{SCALE}: scores of real and of one-colour images.")
    if any(guided(_parts_on(table, dataset)) for dataset in _datasets(table)):
        others = ", else noise" if any(part.mode == "latent" for part in table.parts) else ""
        texts.append(f"{REFERENCE}: given a reference image{others}.")
    if any(row.transfer != BASELINE for row, _ in rows):
        named = any(row.label.startswith("KD") for row, _ in rows)
        texts.append("Ours, KD: the paper's method." if named else "Ours: the paper's method, the rest earlier ones.")
    if any(not cell.learned for cell in there):
        texts.append(f"{UNLEARNED_MARK}{JOINED}not learned: no better than untrained or blank.")
    if any(row.stage1 for row, _ in rows):
        texts.append(f"{UNDISTILLED_MARK}{JOINED}its first stage (distillation) misses its yardsticks.")
    if any(table.teacher_note(row, cell.dataset) for row, cell in rows):
        texts.append(f"{SEEN}{JOINED}its pretrained GAN has seen this data.")
    if any(len(cell.seeds) < seeds for cell in there):
        texts.append(f"Some cells have fewer seeds than {seeds}.")
    absent: dict[str, dict[str, None]] = {}
    measured = {cell.dataset for cell in there}
    for row, cell in rows:
        if cell.mean is None and cell.dataset in measured:
            absent.setdefault(short_reason(cell), {})[row.label] = None
    texts += [f"{NO_PAPER} {reason}: {', '.join(labels)}." for reason, labels in absent.items()]
    if len(table.machines) > 1:
        texts.append(f"The cells were made on {len(table.machines)} kinds of machine.")
    return " ".join([*texts, _conditions(table, file)] if file else texts)


def _datasets(table: Table) -> list[str]:
    return list(dict.fromkeys(dataset for part in table.parts for dataset in part.datasets))


def _parts_on(table: Table, dataset: str) -> list[TablePart]:
    return [part for part in table.parts if dataset in part.datasets]


def _conditions(table: Table, file: str) -> str:
    """Say what stands in for the paper's data and sizes, and which file has all departures and controls."""
    if not stand_in_line(table):
        return f"Budgets and more: {file}"
    used = {name: table.context.datasets.get(name) for name in _datasets(table)}
    data = ", ".join(other for name, other in used.items() if other not in (None, name))
    asked = sorted({row.resolution for part in table.parts for row in part.methods()})
    sizes = [str(to) for size in asked if (to := table.context.resolutions.get(size, size)) != size]
    here = " at ".join(text for text in (data, f"{' and '.join(sizes)} px" if sizes else "") if text)
    what = f"Stand-ins ({here})" if here else "Not the paper's conditions"
    return f"{what}: compare orders and gains, not values. More: {file}"
