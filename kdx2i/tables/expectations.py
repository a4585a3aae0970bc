"""Expectations that a user states in a YAML file, for continuous integration; the suite ships none.

    expectations:
      - {table: table1, part: reference, dataset: animal-faces, metric: mFID, better: Ours*, than: StarGANv2*}
      - {table: table1, part: latent, metric: mFID, tau_at_least: 0.5}
      - {table: table1, part: latent, label: Ours*, verdict: [reproduced, better]}

`dataset` and `metric` may be left out: the expectation then holds for every column of the part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from kdx2i.config import Strict, listed, read_yaml, validate
from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.comparison import Comparison
from kdx2i.tables.learning import NOT_LEARNED
from kdx2i.tables.model import Table, TablePart
from kdx2i.tables.orders import paired_gain


class _Columns(Strict):
    """The columns that an expectation is about."""

    table: str
    part: str
    dataset: str | None = None
    metric: str | None = None


class OrderExpectation(_Columns):
    """Row `better` beats row `than` in every column.

    `margin`: by at least this relative gain. `beyond_noise`: the 95% interval of the paired gain over seeds
    lies above the margin too, which one seed can never show.
    """

    better: str
    than: str
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    beyond_noise: bool = False


class AgreementExpectation(_Columns):
    """Kendall's tau-b with the printed order is at least this in every column."""

    tau_at_least: float = Field(ge=-1, le=1)


class VerdictExpectation(_Columns):
    """The verdict on a row is one of these in every column; `missing` and `not learned` never pass."""

    label: str
    verdict: list[Literal["reproduced", "better", "worse", "not comparable"]] = Field(min_length=1)


Expectation = OrderExpectation | AgreementExpectation | VerdictExpectation
_KINDS: dict[str, type[OrderExpectation] | type[AgreementExpectation] | type[VerdictExpectation]] = {
    "better": OrderExpectation,
    "tau_at_least": AgreementExpectation,
    "verdict": VerdictExpectation,
}


@dataclass(frozen=True)
class Failure:
    """An expectation that a column did not meet: the column, and why in one sentence."""

    where: str
    why: str


def load_expectations(path: Path) -> list[Expectation]:
    """Load a YAML file of expectations; a mistake in it raises `UserError` naming file and entry."""
    data = read_yaml(path)
    items = data.get("expectations")
    if set(data) != {"expectations"} or not isinstance(items, list):
        raise UserError(f"{path} must have one key, `expectations`, with a list")
    return [_expectation(item, f"{path}, expectation {number}") for number, item in enumerate(items, start=1)]


def _expectation(item: Any, where: str) -> Expectation:
    """Check one entry; its kind is told by its key."""
    kinds = [kind for kind in _KINDS if isinstance(item, dict) and kind in item]
    if len(kinds) != 1:
        raise UserError(f"{where}: exactly one of the keys {', '.join(_KINDS)} must be there")
    return validate(_KINDS[kinds[0]], item, where)


def failed_expectations(
    expectations: Sequence[Expectation], tables: Sequence[Table], comparison: Comparison
) -> list[Failure]:
    """Return every column that fails an expectation, in order; an empty list is success (exit code 0).

    A number that is absent fails. A table, part, column or row that does not exist raises `UserError`: a
    typing mistake must not pass as a success.
    """
    return [failure for item in expectations for failure in _failures(item, tables, comparison)]


def exit_code(failures: Sequence[Failure]) -> int:
    """Return 1 when an expectation failed, otherwise 0."""
    return 1 if failures else 0


def _failures(item: Expectation, tables: Sequence[Table], comparison: Comparison) -> Iterator[Failure]:
    """Yield the failures of one expectation over its columns."""
    part = _part(item, tables)
    for dataset in _chosen("dataset", item.dataset, part.datasets):
        for metric in _chosen("metric", item.metric, part.metrics):
            column = (item.table, item.part, dataset, metric)
            if isinstance(item, OrderExpectation):
                why = _order_fails(item, part, dataset, metric)
            elif isinstance(item, AgreementExpectation):
                why = _agreement_fails(item, comparison, column)
            else:
                why = _verdict_fails(item, part, comparison, column)
            if why:
                yield Failure("/".join(column), why)


def _part(item: Expectation, tables: Sequence[Table]) -> TablePart:
    """Return the part that an expectation names."""
    table = next((table for table in tables if table.name == item.table), None)
    if table is None:
        raise UserError(f"an expectation names the table `{item.table}`; compared are {listed(t.name for t in tables)}")
    part = next((part for part in table.parts if part.name == item.part), None)
    if part is None:
        known = listed(part.name for part in table.parts)
        raise UserError(f"an expectation names the part `{item.part}` of {table.name}; its parts are {known}")
    return part


def _chosen(kind: str, name: str | None, known: Sequence[str]) -> Sequence[str]:
    """Return one named column or all of them."""
    if name is None:
        return known
    if name not in known:
        raise UserError(f"an expectation names the {kind} `{name}`; this part has {listed(known)}")
    return (name,)


def _known_row(part: TablePart, label: str) -> None:
    labels = [row.label for row in part.methods()]
    if label not in labels:
        raise UserError(f"an expectation names the row `{label}`; the rows of {part.name} are {listed(labels)}")


def _order_fails(item: OrderExpectation, part: TablePart, dataset: str, metric: str) -> str:
    """Say why a row does not beat another, or return an empty string."""
    _known_row(part, item.better)
    _known_row(part, item.than)
    rows = {row.label: row for row in part.methods()}
    first, second = (rows[label].cell(dataset, metric) for label in (item.better, item.than))
    for label, cell in ((item.better, first), (item.than, second)):
        if cell.mean is None:
            return f"{label} has no number: {cell.reason}"
        if cell.learning is not None and not cell.learned:
            return f"{label} has {NOT_LEARNED}: {cell.learning.sentence}"
    text = METRICS[metric].text
    values = f"{item.better} has {text(first.mean or 0.0)}, {item.than} has {text(second.mean or 0.0)}"
    if not METRICS[metric].goodness(first.mean or 0.0) > METRICS[metric].goodness(second.mean or 0.0):
        return f"{values}: not better"
    if not item.margin and not item.beyond_noise:
        return ""
    paired = paired_gain(first, second)
    if paired.gain is None:
        return f"{values}: no relative gain ({paired.reason})"
    if paired.gain < item.margin:
        return f"{values}: the gain {paired.gain:.1%} is below {item.margin:.1%}"
    if item.beyond_noise and paired.interval is None:
        return f"{values}: one seed, no interval, so no gain beyond the noise is shown"
    if item.beyond_noise and paired.interval is not None and paired.interval.low <= item.margin:
        return f"{values}: the interval of the gain starts at {paired.interval.low:.1%}"
    return ""


def _agreement_fails(item: AgreementExpectation, comparison: Comparison, column: tuple[str, ...]) -> str:
    """Say why the order of a column does not agree, or return an empty string."""
    order = next(o for o in comparison.orders if (o.table, o.part, o.dataset, o.metric) == column)
    if order.tau is None:
        return f"tau-b is not defined: {order.reason}"
    if not order.tau >= item.tau_at_least:
        return f"tau-b over {order.rows} rows is {order.tau:.2f}, below {item.tau_at_least:.2f}"
    return ""


def _verdict_fails(item: VerdictExpectation, part: TablePart, comparison: Comparison, column: tuple[str, ...]) -> str:
    """Say why the verdict on a cell is another, or return an empty string."""
    _known_row(part, item.label)
    judged = next(
        c for c in comparison.cells if (c.table, c.part, c.dataset, c.metric) == column and c.label == item.label
    )
    if judged.verdict in item.verdict:
        return ""
    return f"{item.label} is `{judged.verdict}` ({judged.detail}), not one of {', '.join(item.verdict)}"
