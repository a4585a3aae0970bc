"""Orders of the rows and relative gains over their baselines: what may be compared on any preset."""

from collections.abc import Iterator
from dataclasses import dataclass

from kdx2i.config import Strict
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import Interval, agreement, mean, mean_interval
from kdx2i.tables.learning import NOT_LEARNED
from kdx2i.tables.model import Cell, Table, TablePart, TableRow
from kdx2i.tables.published import CellName, Published

BASELINE = "scratch"


class Order(Strict):
    """Kendall's tau-b between the reproduced and the printed order of a column's rows.

    `rows` have both numbers and have learned. `tau` is None where it is not defined, and `reason` says why. Of the
    pairs of rows, `concordant` stand in the same order here and there, `tied` are equal on either side.
    """

    table: str
    part: str
    dataset: str
    metric: str
    rows: int
    tau: float | None
    concordant: int
    discordant: int
    tied: int
    reason: str


class Gain(Strict):
    """The relative gain of a row over its baseline: (difference, positive when better) / |baseline|.

    `published` and `reproduced` are None where a number is absent or the baseline is not positive; `reason`
    says why. `stage1`: that the row's student has not been distilled; empty otherwise. `low` and `high`: the 95%
    Student interval of the reproduced gain over the seeds that both rows have, with the baseline's mean taken as
    exact; None below two such seeds. `agrees`: both gains have the same sign.
    """

    table: str
    part: str
    dataset: str
    metric: str
    label: str
    stage1: str = ""
    baseline: str
    published: float | None
    reproduced: float | None
    low: float | None
    high: float | None
    seeds: int
    agrees: bool | None
    reason: str


def orders(table: Table, published: Published) -> Iterator[Order]:
    """Yield one order for each column of each part; controls take no part in it."""
    for part in table.parts:
        for dataset in part.datasets:
            for metric in part.metrics:
                yield _order(table, part, dataset, metric, published)


def _order(table: Table, part: TablePart, dataset: str, metric: str, published: Published) -> Order:
    """Compare one column."""
    own: list[float] = []
    printed: list[float] = []
    for row in part.methods():
        value = published.get(CellName(part.name, dataset, row.label, metric))
        reproduced = row.cell(dataset, metric).claimed
        if value is not None and reproduced is not None:
            own.append(reproduced)
            printed.append(float(value.value))
    agreed = agreement(own, printed)
    reason = ""
    if agreed.rows < 2:
        alike = all(row.cell(dataset, metric).learned for row in part.methods())
        reason = "fewer than two rows have both numbers" if alike else "fewer than two rows with both numbers learned"
    elif agreed.tau is None:
        reason = "all rows are tied on one side"
    return Order(
        table=table.name,
        part=part.name,
        dataset=dataset,
        metric=metric,
        rows=agreed.rows,
        tau=agreed.tau,
        concordant=agreed.concordant,
        discordant=agreed.discordant,
        tied=agreed.tied,
        reason=reason,
    )


def gains(table: Table, published: Published) -> Iterator[Gain]:
    """Yield one gain for each row and column whose architecture and resolution has a `scratch` row in the part."""
    for part in table.parts:
        for row in part.methods():
            baseline = baseline_of(part, row)
            if baseline is None:
                continue
            for dataset in part.datasets:
                for metric in part.metrics:
                    yield _gain(table, part, row, baseline, CellName(part.name, dataset, row.label, metric), published)


def baseline_of(part: TablePart, row: TableRow) -> TableRow | None:
    """Return the row trained from scratch with a row's architecture and resolution, if the part has one."""
    if row.transfer == BASELINE:
        return None
    same = [other for other in part.methods() if other.transfer == BASELINE]
    return next((o for o in same if (o.architecture, o.resolution) == (row.architecture, row.resolution)), None)


def _gain(
    table: Table, part: TablePart, row: TableRow, baseline: TableRow, name: CellName, published: Published
) -> Gain:
    """Compare one row with its baseline in one column, here and in the paper."""
    row_value, baseline_value = published.get(name), published.get(name._replace(label=baseline.label))
    published_gain = None
    if row_value is not None and baseline_value is not None:
        published_gain = relative_gain(name.metric, float(row_value.value), float(baseline_value.value))
    cells = row.cell(name.dataset, name.metric), baseline.cell(name.dataset, name.metric)
    own_gain = paired_gain(*cells)
    missing = row_value is None or baseline_value is None
    return Gain(
        table=table.name,
        part=part.name,
        dataset=name.dataset,
        metric=name.metric,
        label=row.label,
        stage1=row.stage1,
        baseline=baseline.label,
        published=published_gain,
        reproduced=own_gain.gain,
        low=own_gain.interval.low if own_gain.interval else None,
        high=own_gain.interval.high if own_gain.interval else None,
        seeds=own_gain.seeds,
        agrees=None
        if published_gain is None or own_gain.gain is None
        else _sign(published_gain) == _sign(own_gain.gain),
        reason="; ".join(filter(None, [own_gain.reason, "the paper does not print both numbers" if missing else ""])),
    )


@dataclass(frozen=True)
class PairedGain:
    """A reproduced gain over the seeds that both cells have."""

    gain: float | None
    interval: Interval | None
    seeds: int
    reason: str


def paired_gain(cell: Cell, baseline: Cell) -> PairedGain:
    """Return the gain of `cell` over `baseline` from their common seeds; None with a reason without any.

    None, too, where one of them has not learned.
    """
    for part, who in ((cell, "the row"), (baseline, "the baseline")):
        if part.learning is not None and not part.learned:
            return PairedGain(None, None, 0, f"{who} has {NOT_LEARNED} ({part.learning.sentence})")
    by_seed, base_by_seed = (
        dict(zip(cell.seeds, cell.values, strict=True)),
        dict(zip(baseline.seeds, baseline.values, strict=True)),
    )
    seeds = sorted(set(by_seed) & set(base_by_seed))
    if not seeds:
        reason = cell.reason or baseline.reason or "no seed has both numbers"
        return PairedGain(None, None, 0, reason)
    base = mean([base_by_seed[seed] for seed in seeds])
    if base <= 0:
        return PairedGain(None, None, len(seeds), "the baseline is not positive, so no relative gain is defined")
    metric = cell.metric
    differences = [
        (METRICS[metric].goodness(by_seed[s]) - METRICS[metric].goodness(base_by_seed[s])) / base for s in seeds
    ]
    return PairedGain(mean(differences), mean_interval(differences), len(seeds), "")


def relative_gain(metric: str, value: float, baseline: float) -> float | None:
    """Return (difference, positive when better) / baseline; None where the baseline is not positive."""
    if baseline <= 0:
        return None
    return (METRICS[metric].goodness(value) - METRICS[metric].goodness(baseline)) / baseline


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
