"""How much the cells of a table scatter over seeds and machines, from few repetitions.

Values are taken on the scale of their metric (the catalogue says which are logarithmic). A value is

    y = cell + seed + rest,

where `rest` differs with the machine: another instruction set rounds otherwise, and training amplifies that. What is
known of its variance depends on what was repeated.

- `machines`: the reference has the seeds of the run from several machines. A seed is compared with itself, so only
  `rest` counts. Its variance b is estimated within seeds, with one degree of freedom a seed for each further machine.
- `seeds`: otherwise. Both parts count; their variance is that over the seeds of a machine, averaged over machines. Its
  degrees of freedom are those of one machine, since seeds are the same on all.

One cell has few degrees of freedom, so they are pooled over the datasets of a row, and rows lend each other strength:
the variances s^2 of the rows of a metric, with d degrees of freedom each, are taken for draws from a scaled inverse
chi-squared distribution with d0 degrees (Smyth 2004, "Linear models and empirical Bayes methods"), so that

    s^2 / s0^2 ~ F(d, d0),    and a row's variance becomes (d0 s0^2 + d s^2) / (d0 + d), with d0 + d degrees.

d0 and s0 come from the mean and the coefficient of variation of s^2 over rows (moments of F; logarithms, as in Smyth,
fail where a row has no scatter at all, such as an accuracy of zero). Where rows scatter alike, d0 is infinite. Two
guards keep an honest rerun from being called another method, which simulations with ten rows show (tests): the others
never count for more than the row's own repetitions (d0 at most d), and a row that scatters more than the others keeps
its own variance.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import deviation, mean
from kdx2i.tables.replicates import CellKey, Replicate

Basis = Literal["machines", "seeds"]
Row = tuple[str, str, str, str]
LEAST_ROWS = 3  # fewer cannot say how variances differ between rows: they are pooled


@dataclass(frozen=True)
class Scatter:
    """A variance on the metric's scale and its degrees of freedom."""

    variance: float
    freedom: float


def on_scale(metric: str, value: float) -> float | None:
    """Return a value on its metric's scale; None where it has no logarithm."""
    if not METRICS[metric].logarithmic:
        return value
    return math.log(value) if value > 0 else None


def from_scale(metric: str, number: float) -> float:
    """Return the value of a number on its metric's scale."""
    return math.exp(number) if METRICS[metric].logarithmic else number


def row_of(cell: CellKey) -> Row:
    """Return the row and metric that a cell belongs to: its datasets scatter alike."""
    return cell.table, cell.part, cell.label, cell.metric


BySeed = dict[int, dict[str, float]]


def by_cell(replicates: Iterable[Replicate]) -> dict[CellKey, BySeed]:
    """Return the values on the metrics' scales: {cell: {seed: {machine: number}}}; those without one are left out."""
    cells: dict[CellKey, BySeed] = defaultdict(lambda: defaultdict(dict))
    for item in replicates:
        number = on_scale(item.cell.metric, item.value)
        if number is not None:
            cells[item.cell][item.seed][item.machine] = number
    return {cell: dict(seeds) for cell, seeds in cells.items()}


def basis_of(cells: Mapping[CellKey, BySeed], seeds: Sequence[int]) -> Basis:
    """Return what a run with these seeds is judged by: machines where every seed is repeated on several."""
    paired = all(len(found.get(seed, ())) > 1 for found in cells.values() for seed in seeds)
    return "machines" if cells and paired else "seeds"


def scatters(cells: Mapping[CellKey, BySeed], basis: Basis) -> dict[Row, Scatter]:
    """Return the variance of one value for each row and metric; rows without any degree of freedom borrow all of it.

    A metric whose cells were never repeated has no entry.
    """
    of_row: dict[Row, list[tuple[float, int]]] = defaultdict(list)
    for cell, found in cells.items():
        of_row[row_of(cell)].append(_squares(found, basis))
    by_metric: dict[str, dict[Row, Scatter]] = defaultdict(dict)
    for row, parts in of_row.items():
        freedom = sum(degrees for _, degrees in parts)
        squares = math.fsum(total for total, _ in parts)
        by_metric[row[-1]][row] = Scatter(squares / freedom if freedom else 0.0, freedom)
    return {row: scatter for rows in by_metric.values() for row, scatter in shrunken(rows).items()}


def _squares(found: BySeed, basis: Basis) -> tuple[float, int]:
    """Return the sum of squares of one cell and its degrees of freedom."""
    if basis == "machines":
        repeated = [list(values.values()) for values in found.values() if len(values) > 1]
        total = math.fsum((len(values) - 1) * deviation(values) ** 2 for values in repeated)
        return total, sum(len(values) - 1 for values in repeated)
    machines = {machine for values in found.values() for machine in values}
    columns = [[values[machine] for values in found.values() if machine in values] for machine in sorted(machines)]
    variances = [(deviation(column) ** 2, len(column) - 1) for column in columns if len(column) > 1]
    if not variances:
        return 0.0, 0
    degrees = min(freedom for _, freedom in variances)
    return degrees * mean([variance for variance, _ in variances]), degrees


def shrunken(rows: Mapping[Row, Scatter]) -> dict[Row, Scatter]:
    """Return the variances of one metric's rows, drawn to each other; nothing where no row has a degree of freedom."""
    known = [scatter for scatter in rows.values() if scatter.freedom > 0]
    total = sum(scatter.freedom for scatter in known)
    if not known:
        return {}
    pooled = math.fsum(scatter.variance * scatter.freedom for scatter in known) / total
    typical = len(known) / math.fsum(1 / scatter.freedom for scatter in known)
    prior = _prior_freedom(known, typical)
    scale = pooled if math.isinf(prior) else pooled * (prior - 2) / prior  # the mean of F(d, d0) is d0 / (d0 - 2)
    borrowed = min(prior, typical, total)
    shrunk = {}
    for row, scatter in rows.items():
        freedom = borrowed + scatter.freedom
        variance = (borrowed * scale + scatter.freedom * scatter.variance) / freedom
        shrunk[row] = Scatter(max(variance, scatter.variance), min(freedom, total))
    return shrunk


def _prior_freedom(known: Sequence[Scatter], d: float) -> float:
    """Return d0 from the coefficient of variation c of the variances: c^2 = 2 (d + d0 - 2) / (d (d0 - 4))."""
    centre = mean([scatter.variance for scatter in known])
    if len(known) < LEAST_ROWS or centre <= 0:
        return math.inf
    excess = d * (deviation([scatter.variance for scatter in known]) / centre) ** 2
    return math.inf if excess <= 2 else (4 * excess + 2 * d - 4) / (excess - 2)
