"""Do the numbers of tables support what the paper states, contradict it, or can nobody tell?

A claim (`benchmarks/claims.yaml`) is a number of comparisons: a row before another one by a metric on a dataset, by
more than the smallest gain that counts, a share of the other row's mean. A comparison's differences are paired by seed,
in the metric's unit and positive where better; their interval is Student's over seeds, with a variance that is pooled
over the datasets of the same two rows and metric, as on `docs/results.md`.

`over: each`: the claim is that every comparison exceeds the gain that counts.

- supported: the 95% interval of every comparison lies above it. Since all must, no level needs to be split.
- contradicted: the interval of every comparison lies below it, or that of one does at the level of all k together
  (0.025 / k on its side, Bonferroni). A gain that is there but smaller than what counts contradicts too.

`over: mean` ("in general"): the same of one number a seed, the mean over the comparisons of the logarithm of the two
rows' ratio, so that exchanging the rows changes nothing but the sign; FID-like metrics only.

Everything else is `cannot tell`, with the number of seeds that would (`kdx2i.tables.power`). Only rows that have
learned are compared: what has not learned, or is not there, never decides. A claim is supported only where at least
half of its comparisons can be made, and `not run` where none of its numbers is there.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from kdx2i.config import Strict
from kdx2i.config.claims import Claim, Pair, pairs
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import deviation, mean
from kdx2i.tables.learning import NOT_LEARNED
from kdx2i.tables.model import Cell, Table
from kdx2i.tables.orders import relative_gain
from kdx2i.tables.power import ERROR, MOST, POWER, seeds_that_tell
from kdx2i.tables.published import CellName, Published

Outcome = Literal["supported", "contradicted", "cannot tell", "not run"]
OUTCOMES: tuple[Outcome, ...] = ("supported", "contradicted", "cannot tell", "not run")
PairOutcome = Literal["supported", "contradicted", "cannot tell", "not learned", "not run"]
JUDGED: tuple[PairOutcome, ...] = ("supported", "contradicted", "cannot tell")
LEAST_SHARE = 0.5
"""The share of a claim's comparisons that must be judged before it is supported."""


class PairVerdict(Strict):
    """One comparison: `difference` of `better` and `than` with its 95% interval, in the metric's unit.

    It is positive where better. `other` is the mean of `than`; `gain` the difference as a share of its size, None where
    it is zero. `printed` is the gain between the paper's own numbers, None where it does not print both. `reason` says
    why there is no difference, or no interval. `seeds` are those that both rows have.
    """

    table: str
    part: str
    dataset: str
    metric: str
    better: str
    than: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    other: float | None = None
    gain: float | None = None
    seeds: int = 0
    printed: float | None
    outcome: PairOutcome
    reason: str = ""

    def written(self, number: float | None) -> str:
        """Write a difference: in percent of the other row, or in the metric's unit where that is zero."""
        if number is None or self.other is None:
            return "–"
        return percent(number / abs(self.other)) if self.other else f"{number:+.3g}".replace("-", "−")


class ClaimVerdict(Strict):
    """A claim and what the numbers say of it.

    `seeds`: those that the least repeated judged comparison has; `needed`: how many in all would tell, None where it is
    told or cannot be said. `gain`, `low` and `high` are the mean gain and its interval where the claim is about one.
    `printed` of `printed_of` comparisons show the gain in the paper's own numbers, `judged` of `of` could be made here.
    """

    id: str
    section: str
    quote: str
    says: str
    effect: float
    over: Literal["each", "mean"]
    outcome: Outcome
    why: str
    seeds: int
    needed: int | None
    gain: float | None
    low: float | None
    high: float | None
    judged: int
    of: int
    printed: int
    printed_of: int
    pairs: tuple[PairVerdict, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables whose cells it concerns."""
        return tuple(dict.fromkeys(pair.table for pair in self.pairs))


@dataclass(frozen=True)
class _Measured:
    """A mean difference `centre` over `seeds`, the margin that it is held against, and what is known of its spread.

    `spread` is the standard deviation over seeds, shared by `columns` datasets, with `freedom` degrees (0: none known).
    """

    centre: float
    margin: float
    seeds: int
    spread: float
    columns: int
    freedom: int

    def bound(self, side: int, error: float = ERROR) -> float:
        """Return the lower (-1) or upper (+1) limit at an error; infinite where no spread is known."""
        if self.freedom < 1:
            return side * math.inf
        reach = -float(special.stdtrit(self.freedom, error)) * self.spread / math.sqrt(self.seeds)
        return self.centre + side * reach

    def needed(self, error: float = ERROR, power: float = POWER) -> int | None:
        """Return how many seeds would tell on which side of the margin it lies."""
        if self.freedom < 1:
            return None
        away = abs(self.centre - self.margin)
        found = seeds_that_tell(away, self.spread, columns=self.columns, error=error, power=power)
        return None if found is None else max(found, self.seeds + 1)


@dataclass(frozen=True)
class _Decision:
    """What is decided of a claim, in the fields of its verdict."""

    outcome: Outcome
    why: str
    needed: int | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None


def judge_claims(
    claims: Sequence[Claim],
    tables: Mapping[str, Table],
    published: Mapping[str, Published],
    parts: Mapping[tuple[str, str], Sequence[str]],
) -> tuple[ClaimVerdict, ...]:
    """Judge every claim by the tables that are there.

    `tables` and `published` are by name (a table may be absent, its published numbers not); `parts` has the datasets of
    each part, by table and part.
    """
    return tuple(_judge(claim, tables, published, parts) for claim in claims)


def _judge(
    claim: Claim,
    tables: Mapping[str, Table],
    published: Mapping[str, Published],
    parts: Mapping[tuple[str, str], Sequence[str]],
) -> ClaimVerdict:
    """Judge one claim."""
    asked = list(pairs(claim, parts))
    found = {pair: _cells(pair, tables) for pair in asked}
    cells = {pair: both for pair, both in found.items() if not isinstance(both, _Left)}
    measured = _measured(cells, claim.effect)
    together = len(measured)
    verdicts = []
    for pair in asked:
        printed, both = _printed(pair, published[pair.table]), found[pair]
        if isinstance(both, _Left):
            left = PairVerdict(**pair._asdict(), printed=printed, outcome=both.outcome, reason=both.reason)
            verdicts.append(left)
        else:
            verdicts.append(_verdict(pair, measured[pair], both[1], printed, together))
    if not measured:
        decision = _nothing_to_judge(verdicts)
    elif claim.over == "each":
        decision = _decide_each(verdicts, list(measured.values()))
    else:
        decision = _decide_mean(claim, list(cells.values()), len(asked))
    shown = [verdict.printed for verdict in verdicts if verdict.printed is not None]
    return ClaimVerdict(
        **claim.model_dump(exclude={"cells"}),
        **vars(decision),
        seeds=min((item.seeds for item in measured.values()), default=0),
        judged=together,
        of=len(asked),
        printed=sum(gain > claim.effect for gain in shown),
        printed_of=len(shown),
        pairs=tuple(verdicts),
    )


@dataclass(frozen=True)
class _Left:
    """Why a comparison is left out."""

    outcome: PairOutcome
    reason: str


def _cells(pair: Pair, tables: Mapping[str, Table]) -> tuple[Cell, Cell] | _Left:
    """Return the two cells of a comparison, or why it cannot be made."""
    if pair.table not in tables:
        return _Left("not run", f"{pair.table} is not here")
    found = []
    for label in (pair.better, pair.than):
        cell = _cell(tables[pair.table], pair, label)
        if cell is None or cell.mean is None:
            reason = f": {cell.reason}" if cell is not None and cell.reason else ""
            return _Left("not run", f"{label} has no number{reason}")
        if not cell.learned:
            return _Left(NOT_LEARNED, f"{label} has {NOT_LEARNED}")
        found.append(cell)
    first, second = found
    if not set(first.seeds) & set(second.seeds):
        return _Left("not run", f"no seed has {pair.better} and {pair.than}")
    return first, second


def _cell(table: Table, pair: Pair, label: str) -> Cell | None:
    """Return a row's cell of a comparison; None where an older table has no such row or column."""
    cells = (
        cell
        for part in table.parts
        for row in part.methods()
        for cell in row.cells
        if (part.name, row.label, cell.dataset, cell.metric) == (pair.part, label, pair.dataset, pair.metric)
    )
    return next(cells, None)


def _by_seed(first: Cell, second: Cell) -> dict[int, tuple[float, float]]:
    """Return both cells' values of the seeds that both have."""
    values = [dict(zip(cell.seeds, cell.values, strict=True)) for cell in (first, second)]
    return {seed: (values[0][seed], values[1][seed]) for seed in sorted(set(values[0]) & set(values[1]))}


def _measured(cells: Mapping[Pair, tuple[Cell, Cell]], effect: float) -> dict[Pair, _Measured]:
    """Return the mean differences with their spread, pooled over the datasets of the same rows and metric."""
    differences: dict[Pair, list[float]] = {}
    groups: dict[Pair, list[list[float]]] = defaultdict(list)
    for pair, both in cells.items():
        good = METRICS[pair.metric].goodness
        differences[pair] = [good(value) - good(other) for value, other in _by_seed(*both).values()]
        groups[pair._replace(dataset="")].append(differences[pair])
    measured = {}
    for pair, values in differences.items():
        repeated = [other for other in groups[pair._replace(dataset="")] if len(other) > 1]
        freedom = sum(len(other) - 1 for other in repeated)
        squares = math.fsum((len(other) - 1) * deviation(other) ** 2 for other in repeated)
        spread = math.sqrt(squares / freedom) if freedom else 0.0
        margin = effect * abs(cells[pair][1].mean or 0.0)
        measured[pair] = _Measured(mean(values), margin, len(values), spread, len(repeated), freedom)
    return measured


def _printed(pair: Pair, published: Published) -> float | None:
    """Return the gain between the paper's own numbers; None where it does not print both."""
    values = [published.get(CellName(pair.part, pair.dataset, label, pair.metric)) for label in pair[4:]]
    numbers = [float(value.value) for value in values if value is not None]
    return relative_gain(pair.metric, *numbers) if len(numbers) == len(values) else None


def _verdict(pair: Pair, item: _Measured, other: Cell, printed: float | None, together: int) -> PairVerdict:
    """Write down one comparison; `together` is the number of those that the claim is judged by."""
    outcome: PairOutcome = "cannot tell"
    if item.bound(-1) > item.margin:
        outcome = "supported"
    elif item.bound(1, ERROR / together) < item.margin:
        outcome = "contradicted"
    known = item.freedom > 0
    return PairVerdict(
        **pair._asdict(),
        difference=item.centre,
        low=item.bound(-1) if known else None,
        high=item.bound(1) if known else None,
        other=other.mean,
        gain=item.centre / abs(other.mean) if other.mean else None,
        seeds=item.seeds,
        printed=printed,
        outcome=outcome,
        reason="" if known else "one seed, so no spread is measured",
    )


def _nothing_to_judge(verdicts: Sequence[PairVerdict]) -> _Decision:
    """Decide a claim of which no comparison can be made."""
    reasons = {verdict.outcome: verdict.reason for verdict in reversed(verdicts)}
    if NOT_LEARNED not in reasons:
        return _Decision("not run", reasons["not run"])
    return _Decision("cannot tell", f"{reasons[NOT_LEARNED]}: longer training would tell, more seeds would not")


def _decide_each(verdicts: Sequence[PairVerdict], measured: Sequence[_Measured]) -> _Decision:
    """Decide a claim that every comparison must show; `measured` are the judged ones, in their order."""
    judged = [verdict for verdict in verdicts if verdict.outcome in JUDGED]
    below = all(item.bound(1) < item.margin for item in measured)
    against = judged if below else [verdict for verdict in judged if verdict.outcome == "contradicted"]
    if against:
        worst = min(against, key=lambda verdict: verdict.gain or 0.0)
        return _Decision("contradicted", f"{len(against)} of {len(judged)} against it, most plainly {_words(worst)}")
    unclear = [pair for pair in zip(judged, measured, strict=True) if pair[0].outcome == "cannot tell"]
    if not unclear and len(judged) < LEAST_SHARE * len(verdicts):
        return _Decision("cannot tell", _too_few(len(judged), len(verdicts)))
    if not unclear:
        least = min(judged, key=lambda verdict: verdict.gain or 0.0)
        return _Decision("supported", f"{len(judged)} of {len(judged)} show it, least plainly {_words(least)}")
    if any(item.freedom < 1 for item in measured):
        return _Decision("cannot tell", "one seed, so no spread is measured: three seeds measure one")
    needed = _needed([item for _, item in unclear], len(judged))
    why = f"{len(unclear)} of {len(judged)} unclear, as {_words(unclear[0][0])}"
    return _Decision("cannot tell", why if needed else f"{why}; {MOST} seeds would not tell", needed)


def _needed(unclear: Sequence[_Measured], together: int) -> int | None:
    """Return the seeds that would tell: one below the margin is enough, else every one must show to be above it.

    Where all must, each is asked for a power that leaves `POWER` for all together (Bonferroni).
    """
    below = [item.needed(ERROR / together) for item in unclear if item.centre < item.margin]
    if below:
        return min((seeds for seeds in below if seeds is not None), default=None)
    above = [item.needed(power=1 - (1 - POWER) / len(unclear)) for item in unclear]
    return None if None in above else max(seeds for seeds in above if seeds is not None)


def _decide_mean(claim: Claim, cells: Sequence[tuple[Cell, Cell]], asked: int) -> _Decision:
    """Decide a claim about the mean of its comparisons, on the scale of logarithms."""
    if len(cells) < LEAST_SHARE * asked:
        return _Decision("cannot tell", _too_few(len(cells), asked))
    by_seed = [_by_seed(*both) for both in cells]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    if len(seeds) < 2:
        return _Decision("cannot tell", "fewer than two seeds have every comparison: three seeds measure a spread")
    ratios = [[values[seed] for values in by_seed] for seed in seeds]
    if any(min(pair) <= 0 for of_seed in ratios for pair in of_seed):
        return _Decision("cannot tell", "a distance is not positive, so it has no logarithm")
    # Lower is better: the logarithm of the other row's value over the row's own is positive where that is.
    logarithms = [mean([math.log(other / value) for value, other in of_seed]) for of_seed in ratios]
    margin = -math.log1p(-claim.effect)
    total = _Measured(mean(logarithms), margin, len(seeds), deviation(logarithms), 1, len(seeds) - 1)
    gain, low, high = (-math.expm1(-number) for number in (total.centre, total.bound(-1), total.bound(1)))
    why = f"mean gain {percent(gain)} ({percent(low)} to {percent(high)})"
    if low > claim.effect:
        return _Decision("supported", why, None, gain, low, high)
    if high < claim.effect:
        return _Decision("contradicted", why, None, gain, low, high)
    return _Decision("cannot tell", why, total.needed(), gain, low, high)


def _too_few(judged: int, asked: int) -> str:
    return f"only {judged} of {asked} comparisons can be made"


def percent(number: float) -> str:
    """Write a relative gain: `+12 %`."""
    return f"{100 * number:+.0f} %".replace("-", "−")


def _words(pair: PairVerdict) -> str:
    """Write one comparison: the rows, where, and the interval of its gain."""
    where = f"{pair.better} against {pair.than} on {pair.dataset} ({pair.part}) by {METRICS[pair.metric].title}"
    interval = f" ({pair.written(pair.low)} to {pair.written(pair.high)})" if pair.low is not None else ""
    return f"{where}: {pair.written(pair.difference)}{interval}"
