"""What a report says first: counts of cells, orders and gains, in words that the numbers decide."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.comparison import VERDICTS, CellComparison, Comparison
from kdx2i.tables.model import Table
from kdx2i.tables.orders import Gain, Order

BETTER, WORSE, UNCLEAR, UNJUDGED = "better", "worse", "cannot tell", "not judged"


@dataclass(frozen=True)
class CompareRow:
    """One cell beside the printed one; `difference` is empty where the two have no common scale."""

    key: str
    table: str
    part: str
    dataset: str
    metric: str
    label: str
    published: str
    reproduced: str
    value: float | None
    low: str
    high: str
    seeds: int
    difference: str
    verdict: str
    reason: str
    detail: str


@dataclass(frozen=True)
class GainRow:
    """A relative gain over the row trained from scratch, in percent; `verdict` is what its interval says."""

    table: str
    part: str
    dataset: str
    metric: str
    label: str
    baseline: str
    published: float | None
    reproduced: float | None
    low: float | None
    high: float | None
    seeds: int
    verdict: str
    agrees: str
    reason: str


@dataclass(frozen=True)
class Statement:
    """What one row of a table's part shows against its baseline: counts of cells by verdict."""

    table: str
    part: str
    label: str
    baseline: str
    better: int
    worse: int
    unclear: int
    unjudged: int

    @property
    def cells(self) -> int:
        """The number of its cells."""
        return self.better + self.worse + self.unclear + self.unjudged

    @property
    def sentence(self) -> str:
        """The counts in words."""
        parts = [
            f"better on {self.better}" if self.better else "",
            f"worse on {self.worse}" if self.worse else "",
            f"too close to tell on {self.unclear}" if self.unclear else "",
            f"not judged on {self.unjudged}, where a row has not learned or a number is absent"
            if self.unjudged
            else "",
        ]
        return f"of {self.cells} cells: {', '.join(part for part in parts if part)}"


def verdict_counts(cells: Sequence[CellComparison]) -> list[tuple[str, int]]:
    """Return how many cells have each verdict, those that none has left out."""
    counted = [(name, sum(cell.verdict == name for cell in cells)) for name in VERDICTS]
    return [(name, number) for name, number in counted if number]


def compare_rows(comparison: Comparison, tables: Sequence[Table]) -> list[CompareRow]:
    """Return every cell of the paper's rows for the page."""
    numbers = {
        (table.name, part.name, row.label): index
        for table in tables
        for part in table.parts
        for index, row in enumerate(part.rows)
        if row.kind == "method"
    }
    rows = []
    for cell in comparison.cells:
        text = METRICS[cell.metric].text
        number = numbers[cell.table, cell.part, cell.label]
        rows.append(
            CompareRow(
                key=f"{cell.table}/{cell.part}/{number}/{cell.dataset}/{cell.metric}",
                table=cell.table,
                part=cell.part,
                dataset=cell.dataset,
                metric=METRICS[cell.metric].title,
                label=cell.label,
                published=cell.published or "",
                reproduced="" if cell.reproduced is None else text(cell.reproduced),
                value=cell.reproduced,
                low="" if cell.low is None else text(cell.low),
                high="" if cell.high is None else text(cell.high),
                seeds=cell.seeds,
                difference=_difference(cell),
                verdict=cell.verdict,
                reason=cell.reason,
                detail=cell.detail,
            )
        )
    return rows


def _difference(cell: CellComparison) -> str:
    """Return the reproduced number minus the printed one where both were made under the same conditions."""
    if cell.reproduced is None or cell.published is None or cell.verdict not in ("reproduced", "better", "worse"):
        return ""
    difference = cell.reproduced - float(cell.published.removesuffix("%"))
    return f"{difference:+.{METRICS[cell.metric].digits}f}"


def gain_rows(gains: Iterable[Gain]) -> list[GainRow]:
    """Return the gains in percent, each with what its interval says."""
    return [
        GainRow(
            table=gain.table,
            part=gain.part,
            dataset=gain.dataset,
            metric=METRICS[gain.metric].title,
            label=gain.label,
            baseline=gain.baseline,
            published=_percent(gain.published),
            reproduced=_percent(gain.reproduced),
            low=_percent(gain.low),
            high=_percent(gain.high),
            seeds=gain.seeds,
            verdict=_verdict(gain),
            agrees={True: "same", False: "other", None: ""}[gain.agrees],
            reason=gain.reason,
        )
        for gain in gains
    ]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _verdict(gain: Gain) -> str:
    """Say whether a gain's interval excludes zero; without one nothing is claimed."""
    if gain.reproduced is None:
        return UNJUDGED
    if gain.low is None or gain.high is None:
        return UNCLEAR
    if gain.low > 0:
        return BETTER
    return WORSE if gain.high < 0 else UNCLEAR


def statements(rows: Sequence[GainRow]) -> list[Statement]:
    """Count the gains by row, in the order of the rows."""
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        grouped.setdefault((row.table, row.part, row.label, row.baseline), []).append(row.verdict)
    return [
        Statement(*key, *(verdicts.count(name) for name in (BETTER, WORSE, UNCLEAR, UNJUDGED)))
        for key, verdicts in grouped.items()
    ]


def overall(items: Sequence[Statement]) -> str:
    """Return the counts of all statements together, in words; empty where there is none."""
    if not items:
        return ""
    whole = Statement(
        table="",
        part="",
        label="",
        baseline="",
        better=sum(item.better for item in items),
        worse=sum(item.worse for item in items),
        unclear=sum(item.unclear for item in items),
        unjudged=sum(item.unjudged for item in items),
    )
    return whole.sentence


@dataclass(frozen=True)
class OrderCount:
    """How the pairs of rows of one table stand here and in the paper."""

    table: str
    columns: int
    compared: int
    concordant: int
    pairs: int


def order_counts(orders: Sequence[Order]) -> list[OrderCount]:
    """Sum the orders of all columns by table."""
    names = dict.fromkeys(order.table for order in orders)
    counted = []
    for name in names:
        own = [order for order in orders if order.table == name]
        counted.append(
            OrderCount(
                table=name,
                columns=len(own),
                compared=sum(order.rows > 1 for order in own),
                concordant=sum(order.concordant for order in own),
                pairs=sum(order.concordant + order.discordant + order.tied for order in own),
            )
        )
    return counted
