"""Does a run agree with a reference, within the spread over seeds and machines that the reference records?

Three statements, from `kdx2i.tables.spread`:

- a cell agrees when the run's value lies in the 95% prediction interval of one more run with as many seeds, so that
  about one in twenty cells of an honest rerun does not;
- a row differs by a metric when the mean square of its standardised differences over datasets is too large for F, at
  1% for all rows and metrics together (Holm 1979): one wrong method is found, and an honest rerun passes about 99 times
  of 100, however its cells depend on each other;
- pairs of rows that stand in another order, by metric.

The run agrees with the reference when no row differs and no number is absent on one side only.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from scipy import special

from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import mean
from kdx2i.tables.model import Table
from kdx2i.tables.replicates import CellKey, Replicate, replicates_of
from kdx2i.tables.spread import Basis, BySeed, Row, Scatter, basis_of, by_cell, from_scale, row_of, scatters

CONFIDENCE = 0.95
FAMILY_ERROR = 0.01
"""The chance that an honest rerun is said to differ, where the spread is known well."""

CellVerdict = Literal["agrees", "differs", "absent here", "absent there", "no spread"]
ONE_SIDED: tuple[CellVerdict, ...] = ("absent here", "absent there")


@dataclass(frozen=True)
class CellAgreement:
    """One cell: the run's value, the reference's mean and the band (None where a side has none), all in the unit.

    `score` is the standardised difference, `freedom` its degrees of freedom.
    """

    cell: CellKey
    value: float | None
    reference: float | None
    low: float | None
    high: float | None
    verdict: CellVerdict
    score: float | None = None
    freedom: float | None = None


@dataclass(frozen=True)
class RowAgreement:
    """One row by one metric: the chance of differences as large over its `cells`, and whether they are too large."""

    row: Row
    cells: int
    chance: float
    differs: bool


@dataclass(frozen=True)
class Reversals:
    """Of the pairs of rows with both numbers, in all columns of a metric, how many stand in another order.

    `left_out`: pairs with a row that has not learned, here or there.
    """

    metric: str
    pairs: int
    turned: int
    left_out: int


@dataclass(frozen=True)
class RunAgreement:
    """What a run and a reference have in common; `seeds` are those of the run, `basis` what it is judged by."""

    seeds: tuple[int, ...]
    basis: Basis
    cells: tuple[CellAgreement, ...]
    rows: tuple[RowAgreement, ...]
    reversals: tuple[Reversals, ...]

    def count(self, *verdicts: CellVerdict) -> int:
        """Return the number of cells with one of these verdicts."""
        return sum(cell.verdict in verdicts for cell in self.cells)

    @property
    def judged(self) -> int:
        """The number of cells with a value on both sides and a band."""
        return self.count("agrees", "differs")

    @property
    def agrees(self) -> bool:
        """Whether no row differs and no number is absent on one side only."""
        return self.judged > 0 and self.count(*ONE_SIDED) == 0 and not any(row.differs for row in self.rows)


def agreement_of(run: Sequence[Table], reference: Sequence[Table], replicates: Iterable[Replicate]) -> RunAgreement:
    """Set tables of a run beside the same tables of a reference, whose values by seed and machine are `replicates`."""
    values = by_cell(item for table in run for item in replicates_of(table, ""))
    own = {cell: {seed: found[""] for seed, found in seeds.items()} for cell, seeds in values.items()}
    seeds = tuple(sorted({seed for found in own.values() for seed in found}))
    basis, cells = judged_cells(own, by_cell(replicates))
    return RunAgreement(seeds, basis, cells, judged_rows(cells), reversals(run, reference))


def judged_cells(
    own: Mapping[CellKey, Mapping[int, float]], theirs: Mapping[CellKey, BySeed]
) -> tuple[Basis, tuple[CellAgreement, ...]]:
    """Judge every cell of a run, {cell: {seed: number}}, by a reference; numbers are on their metrics' scales."""
    seeds = sorted({seed for found in own.values() for seed in found})
    basis = basis_of({cell: theirs[cell] for cell in own if cell in theirs}, seeds)
    known = scatters(theirs, basis)
    keys = dict.fromkeys([*own, *theirs])
    return basis, tuple(_cell(key, own.get(key), theirs.get(key), known.get(row_of(key)), basis) for key in keys)


def _cell(
    cell: CellKey, own: Mapping[int, float] | None, theirs: BySeed | None, scatter: Scatter | None, basis: Basis
) -> CellAgreement:
    """Judge one cell."""
    value = mean(list(own.values())) if own else None
    centre, factor = _centre(own, theirs, basis)
    here, there = (None if number is None else from_scale(cell.metric, number) for number in (value, centre))
    if value is None or centre is None:
        return CellAgreement(cell, here, there, None, None, "absent here" if value is None else "absent there")
    if scatter is None:
        return CellAgreement(cell, here, there, None, None, "no spread")
    # A printed digit is the least that can differ.
    unit = 10.0 ** -METRICS[cell.metric].digits / 2
    if METRICS[cell.metric].logarithmic:
        unit /= from_scale(cell.metric, centre)
    error = math.sqrt(scatter.variance * factor + unit**2 / 3)
    reach = error * float(special.stdtrit(scatter.freedom, (1 + CONFIDENCE) / 2))
    low, high = (from_scale(cell.metric, centre + sign * reach) for sign in (-1, 1))
    verdict: CellVerdict = "agrees" if abs(value - centre) <= reach else "differs"
    return CellAgreement(cell, here, there, low, high, verdict, (value - centre) / error, scatter.freedom)


def _centre(own: Mapping[int, float] | None, theirs: BySeed | None, basis: Basis) -> tuple[float | None, float]:
    """Return what the reference expects of the run's mean, and the variance of the difference in units of one value's.

    By machines each seed is expected where it was; by seeds the run is expected at the mean of all.
    """
    if not theirs:
        return None, 0.0
    if not own or basis == "seeds":
        means = [mean(list(values.values())) for values in theirs.values()]
        return mean(means), 1 / len(own or theirs) + 1 / len(means)
    means = [mean(list(theirs[seed].values())) for seed in own]
    return mean(means), math.fsum(1 + 1 / len(theirs[seed]) for seed in own) / len(own) ** 2


def judged_rows(cells: Iterable[CellAgreement]) -> tuple[RowAgreement, ...]:
    """Test each row by each metric, and say which differ when all are looked at together (Holm)."""
    scores: dict[Row, list[float]] = defaultdict(list)
    freedom: dict[Row, float] = {}
    for cell in cells:
        if cell.score is not None and cell.freedom is not None:
            scores[row_of(cell.cell)].append(cell.score)
            freedom[row_of(cell.cell)] = cell.freedom
    chances = {
        row: float(special.fdtrc(len(found), freedom[row], math.fsum(z * z for z in found) / len(found)))
        for row, found in scores.items()
    }
    differing: set[Row] = set()
    for place, (row, chance) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        if chance > FAMILY_ERROR / (len(chances) - place):
            break
        differing.add(row)
    return tuple(RowAgreement(row, len(scores[row]), chance, row in differing) for row, chance in chances.items())


def reversals(run: Sequence[Table], reference: Sequence[Table]) -> tuple[Reversals, ...]:
    """Count the pairs of rows that the run has in another order than the reference, by metric."""
    here, there = _means(run), _means(reference)
    columns: dict[tuple[str, str, str, str], list[CellKey]] = defaultdict(list)
    for cell in here:
        if cell in there:
            columns[cell.metric, cell.table, cell.part, cell.dataset].append(cell)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for (metric, *_), cells in columns.items():
        for first, second in combinations(cells, 2):
            learned = all(side[cell][1] for side in (here, there) for cell in (first, second))
            turned = (here[first][0] - here[second][0]) * (there[first][0] - there[second][0]) < 0
            counts[metric][0] += learned
            counts[metric][1] += learned and turned
            counts[metric][2] += not learned
    return tuple(Reversals(metric, *numbers) for metric, numbers in counts.items())


def _means(tables: Iterable[Table]) -> dict[CellKey, tuple[float, bool]]:
    """Return the mean of each cell of a method that has one, and whether its row has learned there."""
    return {
        CellKey(table.name, part.name, row.label, cell.dataset, cell.metric): (cell.mean, cell.learned)
        for table in tables
        for part in table.parts
        for row in part.methods()
        for cell in row.cells
        if cell.mean is not None
    }
