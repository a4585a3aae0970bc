"""A table for machines: long CSV with full precision, and JSON that reads back as the same table."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdx2i.errors import UserError
from kdx2i.foreign import read_document
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.model import Cell, Table, TablePart, TableRow
from kdx2i.tables.published import CellName, Published

FORMAT = "kdx2i-table-1"
COLUMNS = (
    "table",
    "part",
    "mode",
    "dataset",
    "used_dataset",
    "kind",
    "label",
    "architecture",
    "transfer",
    "resolution",
    "used_resolution",
    "metric",
    "direction",
    "value",
    "rounded",
    "low",
    "high",
    "standard_error",
    "seeds",
    "seed_values",
    "n_real",
    "n_generated",
    "classes",
    "stage1_share",
    "stage2_share",
    "stage1",
    "published",
    "departures",
    "absent",
    "learned",
    "main_distance",
    "main_trained",
    "main_untrained",
    "main_blank",
)


def render_csv(table: Table, published: Published) -> str:
    """Return one line for each cell of methods and controls; an absent number is an empty field."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_lines(table, published))
    return buffer.getvalue()


def _lines(table: Table, published: Published) -> Iterator[dict[str, Any]]:
    for part in table.parts:
        for row in part.rows:
            for cell in row.cells:
                yield _where(table, part, row, cell) | _what(table, row, cell, part, published)


def _where(table: Table, part: TablePart, row: TableRow, cell: Cell) -> dict[str, Any]:
    """Say which cell a line is."""
    return {
        "table": table.name,
        "part": part.name,
        "mode": part.mode,
        "dataset": cell.dataset,
        "used_dataset": table.context.datasets.get(cell.dataset, ""),
        "kind": row.kind,
        "label": row.label,
        "architecture": row.architecture or "",
        "transfer": row.transfer or "",
        "resolution": row.resolution,
        "used_resolution": "" if row.actual_resolution is None else row.actual_resolution,
        "metric": cell.metric,
        "direction": METRICS[cell.metric].direction,
    }


def _what(table: Table, row: TableRow, cell: Cell, part: TablePart, published: Published) -> dict[str, Any]:
    """Say what stands in the cell: floats in full precision (they read back as the same number)."""
    method = row.kind == "method"
    value = published.get(CellName(part.name, cell.dataset, row.label, cell.metric)) if method else None
    low, high = cell.interval or (None, None)
    budget = row.budget
    return {
        "value": _full(cell.mean),
        "rounded": "" if cell.mean is None else METRICS[cell.metric].text(cell.mean),
        "low": _full(low),
        "high": _full(high),
        "standard_error": _full(cell.standard_error),
        "seeds": _joined(cell.seeds) if method else "",
        "seed_values": " ".join(map(_full, cell.values)) if method else "",
        "n_real": _joined(cell.real),
        "n_generated": _joined(cell.generated),
        "classes": _joined(cell.classes),
        "stage1_share": _full(budget.distill_share) if budget else "",
        "stage2_share": _full(budget.train_share) if budget else "",
        "stage1": row.stage1,
        "published": value.printed if value else "",
        "departures": "; ".join(item.text for item in table.departures(row, cell.dataset)) if method else "",
        "absent": cell.reason,
        **_learning(cell),
    }


def _learning(cell: Cell) -> dict[str, str]:
    """Say whether the row has learned on the cell's dataset, and the scores; empty where it is not known."""
    judged = cell.learning
    if judged is None:
        return dict.fromkeys(("learned", "main_distance", "main_trained", "main_untrained", "main_blank"), "")
    return {
        "learned": "yes" if judged.learned else "no",
        "main_distance": judged.metric,
        "main_trained": _full(judged.trained),
        "main_untrained": _full(judged.untrained),
        "main_blank": _full(judged.blank),
    }


def _full(number: float | None) -> str:
    return "" if number is None else repr(float(number))


def _joined(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


def render_json(table: Table, published: Published) -> str:
    """Return the table with the printed numbers of its cells as JSON; `load_table_json` reads it back."""
    printed = [{**value.name._asdict(), "value": value.printed, "note": value.note} for value in published.values()]
    data = {"format": FORMAT, "table": table.model_dump(mode="json"), "published": printed}
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_table_json(path: Path) -> Table:
    """Load a table that `render_json` wrote; any other file raises `UserError` naming it."""
    data = read_document(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UserError(f"{path} is not a table of this version of kdx2i: make it again with `kdx2i table`")
    try:
        return Table.model_validate(data.get("table"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is not a whole table: {place}: {first['msg']}") from None
