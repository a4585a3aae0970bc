"""Do the numbers of tables support what the paper states, contradict it, or can nobody tell?

A claim (`benchmarks/claims.yaml`) is a number of comparisons: a row before another one by a metric on a dataset, by
more than the smallest gain m that counts. A comparison's gain is relative, positive where better, and paired by seed
(`kdx2i.tables.orders.paired_gain`); its interval is Student's over seeds, with a variance that is pooled over the
datasets of the same two rows and metric, as on `docs/results.md`.

`over: each`: the claim is that every comparison exceeds m.

- supported: the 95% interval of every comparison lies above m. Since all must, no level needs to be split.
- contradicted: one comparison lies below m at the level of all k together (0.025 / k on its side). A gain that is there
  but smaller than what counts contradicts too.

`over: mean`: the same of the mean of the comparisons' gains, seed by seed over the seeds that all have.

Everything else is `cannot tell`, with the number of seeds that would (`kdx2i.tables.power`). Only rows that have
learned are compared: what has not learned, is not there, or has no gain (a baseline that is not positive) never
decides. A claim is supported only where at least half of its comparisons can be made, and `not run` where none of its
numbers is there.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from kdx2i.config import Strict
from kdx2i.config.claims import Claim, Pair, pairs
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import deviation, mean
from kdx2i.tables.model import Cell, Table, TablePart
from kdx2i.tables.orders import PairedGain, paired_gain, relative_gain
from kdx2i.tables.power import ERROR, POWER, seeds_that_tell
from kdx2i.tables.published import CellName, Published

Outcome = Literal["supported", "contradicted", "cannot tell", "not run"]
OUTCOMES: tuple[Outcome, ...] = ("supported", "contradicted", "cannot tell", "not run")
PairOutcome = Literal["supported", "contradicted", "cannot tell", "not learned", "no gain", "not run"]
JUDGED: tuple[PairOutcome, ...] = ("supported", "contradicted", "cannot tell")
LEAST_SHARE = 0.5
"""The share of a claim's comparisons that must be judged before it is supported."""


class PairVerdict(Strict):
    """One comparison: the relative gain of `better` over `than` (positive when better) and its 95% interval.

    `printed` is the gain between the paper's own numbers, None where it does not print both. `reason` says why there is
    no gain. `seeds` are those that both rows have.
    """

    table: str
    part: str
    dataset: str
    metric: str
    better: str
    than: str
    gain: float | None
    low: float | None
    high: float | None
    seeds: int
    printed: float | None
    outcome: PairOutcome
    reason: str


class ClaimVerdict(Strict):
    """A claim and what the numbers say of it.

    `seeds`: those that the least repeated judged comparison has; `needed`: how many in all would tell, None where it is
    told or cannot be said. `gain`, `low` and `high` are those of the mean where the claim is about one. `printed` of
    `printed_of` comparisons show the gain in the paper's own numbers, `judged` of `of` could be made here.
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
    """A comparison with a gain: `error` is that of the mean gain, `freedom` its degrees (0: no spread measured)."""

    pair: Pair
    paired: PairedGain
    spread: float
    columns: int
    freedom: int

    @property
    def gain(self) -> float:
        assert self.paired.gain is not None
        return self.paired.gain

    def bound(self, side: int, error: float = ERROR) -> float:
        """Return the lower (-1) or upper (+1) limit at an error; infinite where no spread is measured."""
        if self.freedom < 1:
            return side * math.inf
        reach = float(stats.t.isf(error, self.freedom)) * self.spread / math.sqrt(self.paired.seeds)
        return self.gain + side * reach

    def needed(self, margin: float, error: float, power: float) -> int | None:
        """Return how many seeds would tell on which side of the margin its gain lies."""
        if self.freedom < 1:
            return None
        found = seeds_that_tell(abs(self.gain - margin), self.spread, columns=self.columns, error=error, power=power)
        return None if found is None else max(found, self.paired.seeds + 1)


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
    asked = list(pairs(claim, parts))
    found = {pair: _paired(pair, tables) for pair in asked}
    measured = _measured({pair: paired for pair, paired in found.items() if isinstance(paired, PairedGain)})
    verdicts = tuple(
        _pair_verdict(pair, found[pair], measured.get(pair), claim, len(measured), published) for pair in asked
    )
    printed = [verdict.printed for verdict in verdicts if verdict.printed is not None]
    decided = _decide_each if claim.over == "each" else _decide_mean
    decision = _nothing_to_judge(verdicts) or decided(claim, list(measured.values()), verdicts)
    return ClaimVerdict(
        **claim.model_dump(exclude={"cells"}),
        **vars(decision),
        seeds=min((item.paired.seeds for item in measured.values()), default=0),
        judged=len(measured),
        of=len(asked),
        printed=sum(gain > claim.effect for gain in printed),
        printed_of=len(printed),
        pairs=verdicts,
    )


def _paired(pair: Pair, tables: Mapping[str, Table]) -> "PairedGain | tuple[PairOutcome, str]":
    """Return the paired gain of a comparison, or why there is none."""
    table = tables.get(pair.table)
    if table is None:
        return "not run", f"{pair.table} is not here"
    cells = [_cell(table, pair, label) for label in (pair.better, pair.than)]
    for label, cell in zip((pair.better, pair.than), cells, strict=True):
        if cell is None or cell.mean is None:
            return "not run", f"{label} has no number{f': {cell.reason}' if cell is not None and cell.reason else ''}"
        if not cell.learned:
            return "not learned", f"{label} has not learned"
    first, second = (cell for cell in cells if cell is not None)
    paired = paired_gain(first, second)
    if paired.gain is None:
        return ("no gain" if paired.seeds else "not run"), paired.reason
    return paired


def _cell(table: Table, pair: Pair, label: str) -> Cell | None:
    part: TablePart | None = next((part for part in table.parts if part.name == pair.part), None)
    if part is None or pair.dataset not in part.datasets or pair.metric not in part.metrics:
        return None
    row = next((row for row in part.methods() if row.label == label), None)
    return None if row is None else row.cell(pair.dataset, pair.metric)


def _measured(gains: Mapping[Pair, PairedGain]) -> dict[Pair, _Measured]:
    """Return the comparisons with their spread, pooled over the datasets of the same rows and metric."""
    groups: dict[Pair, list[PairedGain]] = defaultdict(list)
    for pair, paired in gains.items():
        groups[pair._replace(dataset="")].append(paired)
    measured = {}
    for pair, paired in gains.items():
        repeated = [list(p.by_seed.values()) for p in groups[pair._replace(dataset="")] if p.seeds > 1]
        freedom = sum(len(values) - 1 for values in repeated)
        squares = math.fsum((len(values) - 1) * deviation(values) ** 2 for values in repeated)
        spread = math.sqrt(squares / freedom) if freedom else 0.0
        measured[pair] = _Measured(pair, paired, spread, len(repeated), freedom)
    return measured


def _pair_verdict(
    pair: Pair,
    found: "PairedGain | tuple[PairOutcome, str]",
    measured: _Measured | None,
    claim: Claim,
    together: int,
    published: Mapping[str, Published],
) -> PairVerdict:
    """Write down one comparison; `together` is the number of those that the claim is judged by."""
    values = [published[pair.table].get(CellName(pair.part, pair.dataset, label, pair.metric)) for label in pair[4:]]
    printed = None
    if values[0] is not None and values[1] is not None:
        printed = relative_gain(pair.metric, float(values[0].value), float(values[1].value))
    if measured is None:
        outcome, reason = found if isinstance(found, tuple) else ("not run", "")
        return PairVerdict(
            **pair._asdict(), gain=None, low=None, high=None, seeds=0, printed=printed, outcome=outcome, reason=reason
        )
    low, high = (measured.bound(side) for side in (-1, 1))
    outcome = "cannot tell"
    if low > claim.effect:
        outcome = "supported"
    elif measured.bound(1, ERROR / together) < claim.effect:
        outcome = "contradicted"
    known = measured.freedom > 0
    return PairVerdict(
        **pair._asdict(),
        gain=measured.gain,
        low=low if known else None,
        high=high if known else None,
        seeds=measured.paired.seeds,
        printed=printed,
        outcome=outcome,
        reason="" if known else "one seed, so no spread is measured",
    )


def _nothing_to_judge(verdicts: Sequence[PairVerdict]) -> _Decision | None:
    """Return the decision on a claim of which no comparison has a gain; None for another."""
    if any(verdict.outcome in JUDGED for verdict in verdicts):
        return None
    reasons = {v.outcome: v.reason for v in reversed(verdicts)}
    if set(reasons) == {"not run"}:
        return _Decision("not run", reasons["not run"])
    if "not learned" in reasons:
        return _Decision("cannot tell", f"{reasons['not learned']}: longer training would tell, more seeds would not")
    return _Decision("cannot tell", reasons["no gain"])


def _decide_each(claim: Claim, measured: Sequence[_Measured], verdicts: Sequence[PairVerdict]) -> _Decision:
    """Decide a claim that every comparison must show."""
    judged = [verdict for verdict in verdicts if verdict.outcome in JUDGED]
    against = [verdict for verdict in judged if verdict.outcome == "contradicted"]
    if against:
        worst = min(against, key=lambda verdict: verdict.high or 0.0)
        return _Decision("contradicted", f"{len(against)} of {len(judged)} against it, most plainly {_words(worst)}")
    open_ = [verdict for verdict in judged if verdict.outcome == "cannot tell"]
    if not open_ and len(judged) < LEAST_SHARE * len(verdicts):
        return _Decision("cannot tell", f"only {len(judged)} of {len(verdicts)} comparisons are of rows that learned")
    if not open_:
        least = min(judged, key=lambda verdict: verdict.low or 0.0)
        return _Decision("supported", f"{len(judged)} of {len(judged)} show it, least plainly {_words(least)}")
    if any(item.freedom < 1 for item in measured):
        return _Decision("cannot tell", "one seed, so no spread is measured: three seeds measure one")
    unclear = [item for item, verdict in zip(measured, judged, strict=True) if verdict.outcome == "cannot tell"]
    needed = _needed(claim.effect, unclear, len(judged))
    return _Decision("cannot tell", f"{len(open_)} of {len(judged)} unclear, as {_words(open_[0])}", needed)


def _needed(margin: float, unclear: Sequence[_Measured], together: int) -> int | None:
    """Return the seeds that would tell: one gain below the margin is enough, else every one must show to be above it.

    Where all must, each is asked for a power that leaves `POWER` for all together (Bonferroni).
    """
    below = [item.needed(margin, ERROR / together, POWER) for item in unclear if item.gain < margin]
    if below:
        return min((seeds for seeds in below if seeds is not None), default=None)
    above = [item.needed(margin, ERROR, 1 - (1 - POWER) / len(unclear)) for item in unclear]
    return None if None in above else max(seeds for seeds in above if seeds is not None)


def _decide_mean(claim: Claim, measured: Sequence[_Measured], verdicts: Sequence[PairVerdict]) -> _Decision:
    """Decide a claim about the mean of its comparisons."""
    if len(measured) < LEAST_SHARE * len(verdicts):
        return _Decision("cannot tell", f"only {len(measured)} of {len(verdicts)} comparisons are of rows that learned")
    seeds = sorted(set.intersection(*(set(item.paired.by_seed) for item in measured)))
    if len(seeds) < 2:
        return _Decision("cannot tell", "fewer than two seeds have every comparison: three seeds measure a spread")
    by_seed = {seed: mean([item.paired.by_seed[seed] for item in measured]) for seed in seeds}
    whole = PairedGain(mean(list(by_seed.values())), None, len(seeds), "", by_seed)
    total = _Measured(measured[0].pair, whole, deviation(list(by_seed.values())), 1, len(seeds) - 1)
    low, high = total.bound(-1), total.bound(1)
    why = f"mean gain {percent(total.gain)} ({percent(low)} to {percent(high)})"
    outcome: Outcome = "supported" if low > claim.effect else "contradicted" if high < claim.effect else "cannot tell"
    needed = total.needed(claim.effect, ERROR, POWER) if outcome == "cannot tell" else None
    return _Decision(outcome, why, needed, total.gain, low, high)


def percent(number: float) -> str:
    """Write a relative gain: `+12 %`."""
    return f"{100 * number:+.0f} %".replace("-", "−")


def _words(pair: PairVerdict) -> str:
    """Write one comparison: the rows, where, and the interval of its gain."""
    where = f"{pair.better} against {pair.than} on {pair.dataset} ({pair.part}) by {METRICS[pair.metric].title}"
    if pair.gain is None or pair.low is None or pair.high is None:
        return where
    return f"{where}: {percent(pair.gain)} ({percent(pair.low)} to {percent(pair.high)})"
