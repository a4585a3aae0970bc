"""Which single evaluation protocol best explains all published numbers of a table at once, and how clearly.

For a protocol p and a cell i with a printed number v_i and a value x_pi of our own under p, the residual is
r_pi = g(x_pi) - g(v_i), where g is the logarithm for the metrics that the catalogue calls logarithmic (FID-like
numbers differ by factors) and the identity for all others. What is known of its error is

    u_pi^2 = g'(v)^2 h^2 / 3 + g'(x)^2 e^2 (1 + 1 / k)

with h half a unit of the last printed digit (a rounded number is uniform around what is printed), and e the larger
of the sampling error of one evaluation and the spread over the k seeds (the printed number is one more run). Runs
also differ from the paper's for reasons that no protocol explains, so each metric m has a scatter t_m, and

    log L_p = sum_m max_{t_m >= floor} sum_{i in m} -1/2 log(u^2 + t_m^2) - 1/2 r^2 / (u^2 + t_m^2).

The scatter makes metrics of different units comparable. Its floor, `SCATTER` of a column's size, keeps a lucky
match of a few cells from deciding: two trainings that differ only in the seed agree no better.

Clarity is the likelihood ratio to the best protocol with other values, which takes cells as independent, and the
share of bootstrap resamples in which the winner stays first, where an evaluation (all metrics of one row on one
dataset, scored on the same images) is drawn as a whole. A verdict needs both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kdx2i.config import Strict
from kdx2i.metric_catalogue import METRICS
from kdx2i.tables.intervals import deviation, mean
from kdx2i.tables.published import CellName, Published

SCATTER = 0.02  # least unexplained difference, as a share of the column's median printed number
COVERAGE = 0.9  # a protocol with fewer of the cells that another one has is not ranked
LEAST_EVALUATIONS = 3
CLEAR, LEANING = (20.0, 0.95), (3.0, 0.75)  # (likelihood ratio, share of resamples) from which a verdict holds
RESAMPLES = 1000
_GRID = 96  # scatters tried, evenly on the log scale

Clarity = Literal["clear", "leaning", "cannot tell", "nothing to choose", "nothing to compare"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Observed:
    """One cell under one protocol: its values by seed, and the sampling error of one of them where known."""

    values: tuple[float, ...]
    standard_error: float | None = None


Observations = Mapping[CellName, Observed]


class Misfit(Strict):
    """How far a protocol is from one metric's printed numbers: the root mean square of r over `cells`.

    `logarithmic`: r is a difference of logarithms; otherwise it is in the metric's own unit.
    """

    metric: str
    cells: int
    logarithmic: bool
    size: float


class Fit(Strict):
    """One protocol's place in the ranking.

    `log_ratio` is log L of the best protocol minus that of this one, at least 0. `share` is the share of
    resamples in which it is the best; protocols with equal values share theirs. `same_as` names those.
    """

    protocol: str
    log_ratio: float
    share: float
    misfits: tuple[Misfit, ...]
    same_as: tuple[str, ...]


class Inference(Strict):
    """The ranking of protocols for one table; `unranked` maps the others to the reason.

    `log_ratio` and `share` belong to the winner against the best protocol with other values; None without one.
    """

    table: str
    cells: int
    evaluations: int
    ranking: tuple[Fit, ...]
    unranked: dict[str, str]
    verdict: Clarity
    log_ratio: float | None
    share: float | None
    sentence: str


def infer(table: str, observed: Mapping[str, Observations], published: Published, *, seed: int = 0) -> Inference:
    """Rank the protocols of `observed` (values of the same runs under each) by how well they explain `published`.

    The ranking uses the cells that every ranked protocol has; a protocol that lacks more than a tenth of the
    cells that another one has is left out and named. The order of protocols and cells plays no part; `seed`
    draws the resamples. Nothing is raised for missing numbers: the verdict says what cannot be told.
    """
    usable = {name: _usable(cells, published) for name, cells in sorted(observed.items())}
    most = max((len(cells) for cells in usable.values()), default=0)
    unranked = {
        name: f"{len(cells)} of {most} cells have a number" if most else "no cell has both numbers"
        for name, cells in usable.items()
        if not cells or len(cells) < COVERAGE * most
    }
    ranked = [name for name in usable if name not in unranked]
    common = sorted(set.intersection(*(set(usable[name]) for name in ranked))) if ranked else []
    if not common:
        sentence = "no protocol has a number of its own beside a published one: nothing can be compared"
        return _outcome(table, [], (), unranked, "nothing to compare", sentence)
    columns = [_Column(metric, ranked, usable, common, published) for metric in sorted({c.metric for c in common})]
    clusters = sorted({_evaluation(cell) for cell in common})
    fits, shares = _fits(ranked, columns, clusters, seed)
    verdict, sentence = _verdict(fits, len(clusters), shares)
    return _outcome(table, common, fits, unranked, verdict, sentence)


def _evaluation(cell: CellName) -> tuple[str, str, str]:
    return cell.part, cell.dataset, cell.label


def _usable(cells: Observations, published: Published) -> dict[CellName, Observed]:
    """Keep the cells with a published number and finite values, positive where a logarithm is taken."""
    usable = {}
    for name, cell in cells.items():
        printed = published.get(name)
        lowest = 0.0 if METRICS[name.metric].logarithmic else -math.inf
        numbers = [*cell.values, float(printed.value)] if printed is not None and cell.values else [math.nan]
        if all(math.isfinite(number) and number > lowest for number in numbers):
            usable[name] = cell
    return usable


class _Column:
    """The residuals of one metric: `residual` and `known` (u^2) are (protocols, cells)."""

    def __init__(
        self,
        metric: str,
        protocols: Sequence[str],
        usable: Mapping[str, Mapping[CellName, Observed]],
        common: Sequence[CellName],
        published: Published,
    ) -> None:
        self.metric = metric
        self.cells = [cell for cell in common if cell.metric == metric]
        logarithmic = METRICS[metric].logarithmic
        printed = np.array([float(published[cell].value) for cell in self.cells])
        rounding = np.array([float(published[cell].half_unit) for cell in self.cells]) / math.sqrt(3)
        values = np.array([[mean(usable[name][cell].values) for cell in self.cells] for name in protocols])
        errors = np.array([[_error(usable[name][cell]) for cell in self.cells] for name in protocols])
        if logarithmic:
            self.residual: Array = np.log(values) - np.log(printed)
            self.known: Array = (errors / values) ** 2 + (rounding / printed) ** 2
        else:
            self.residual = values - printed
            self.known = errors**2 + rounding**2
        unit = 1.0 if logarithmic else max(float(np.median(np.abs(printed))), 1e-6)
        lowest = SCATTER * unit
        highest = max(2.0 * float(np.abs(self.residual).max()), 2.0 * lowest)
        self.scatters: Array = np.geomspace(lowest, highest, _GRID)

    def log_likelihoods(self, weights: Array) -> Array:
        """Return log L of this metric (protocols, resamples) for cell weights (cells, resamples)."""
        per_protocol = []
        for residual, known in zip(self.residual, self.known, strict=True):
            variance = known + self.scatters[:, None] ** 2
            per_protocol.append((-0.5 * (np.log(variance) + residual**2 / variance) @ weights).max(0))
        return np.stack(per_protocol)

    def misfit(self, protocol: int) -> Misfit:
        size = math.sqrt(float(np.mean(self.residual[protocol] ** 2)))
        return Misfit(
            metric=self.metric, cells=len(self.cells), logarithmic=METRICS[self.metric].logarithmic, size=size
        )


def _error(cell: Observed) -> float:
    """Return the standard deviation of (mean over seeds - one more run), as far as it is known."""
    count = len(cell.values)
    spread = deviation(cell.values) if count > 1 else 0.0
    return max(cell.standard_error or 0.0, spread) * math.sqrt(1 + 1 / count)


def _fits(
    protocols: Sequence[str], columns: Sequence[_Column], clusters: Sequence[tuple[str, str, str]], seed: int
) -> tuple[tuple[Fit, ...], float | None]:
    """Return the fits, best first, and the winner's share of resamples (None without another protocol)."""
    drawn = np.random.default_rng(seed).integers(0, len(clusters), (RESAMPLES, len(clusters)))
    counts = np.stack([np.bincount(draw, minlength=len(clusters)) for draw in drawn]).T.astype(float)
    weights = np.concatenate([np.ones((len(clusters), 1)), counts], axis=1)  # the first column: the data themselves
    place = {cluster: number for number, cluster in enumerate(clusters)}
    total = np.zeros((len(protocols), RESAMPLES + 1))
    for column in columns:
        total += column.log_likelihoods(weights[[place[_evaluation(cell)] for cell in column.cells]])
    # Protocols with the same values in every cell are one: their sums are equal to the last bit.
    keys = [b"".join(c.residual[p].tobytes() + c.known[p].tobytes() for c in columns) for p in range(len(protocols))]
    groups = {key: [name for name, other in zip(protocols, keys, strict=True) if other == key] for key in keys}
    best, stays = total[:, 0].max(), total[:, 1:] >= total[:, 1:].max(0)
    fits = [
        Fit(
            protocol=name,
            log_ratio=float(best - total[p, 0]),
            share=float(stays[p].mean()),
            misfits=tuple(column.misfit(p) for column in columns),
            same_as=tuple(other for other in groups[keys[p]] if other != name),
        )
        for p, name in enumerate(protocols)
    ]
    fits.sort(key=lambda fit: (fit.log_ratio, fit.protocol))
    return tuple(fits), fits[0].share if len(groups) > 1 else None


def _rival(fits: Sequence[Fit]) -> Fit | None:
    """Return the best protocol whose values are not the winner's."""
    return next((fit for fit in fits[1:] if fit.protocol not in fits[0].same_as), None)


def _verdict(fits: Sequence[Fit], evaluations: int, share: float | None) -> tuple[Clarity, str]:
    """Return the verdict and its sentence."""
    winner, rival = fits[0], _rival(fits)
    if rival is None or share is None:
        if not winner.same_as:
            return "nothing to choose", f"only {winner.protocol} has numbers: there is nothing to choose between"
        return "nothing to choose", f"all {len(fits)} protocols give the same numbers here: nothing tells them apart"
    alike = f" (or {few_names(winner.same_as)}: the same numbers)" if winner.same_as else ""
    odds = f"likelihood ratio {ratio_text(rival.log_ratio)}, first in {share:.0%} of resamples"
    best = f"{winner.protocol}{alike} fits best, before {rival.protocol} ({odds})"
    if evaluations < LEAST_EVALUATIONS:
        few = f"are only {evaluations} evaluations" if evaluations > 1 else "is only 1 evaluation"
        return "cannot tell", f"cannot tell: {best}, but there {few} with both numbers"
    names: tuple[Clarity, Clarity] = ("clear", "leaning")
    for name, (ratio, stays) in zip(names, (CLEAR, LEANING), strict=True):
        if rival.log_ratio >= math.log(ratio) and share >= stays:
            return name, f"{best}: {'clearly' if name == 'clear' else 'leaning, not clear'}"
    return "cannot tell", f"cannot tell: {best}"


def few_names(names: Sequence[str]) -> str:
    """Write up to two names; of more, the first and how many others."""
    return " or ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} others"


def ratio_text(log_ratio: float) -> str:
    """Write exp(log_ratio) for people."""
    return "above 1e6" if log_ratio > math.log(1e6) else f"{math.exp(log_ratio):.3g}"


def _outcome(
    table: str,
    common: Sequence[CellName],
    fits: tuple[Fit, ...],
    unranked: dict[str, str],
    verdict: Clarity,
    sentence: str,
) -> Inference:
    """Put the outcome together."""
    rival = _rival(fits) if fits else None
    return Inference(
        table=table,
        cells=len(common),
        evaluations=len({_evaluation(cell) for cell in common}),
        ranking=fits,
        unranked=unranked,
        verdict=verdict,
        log_ratio=None if rival is None else rival.log_ratio,
        share=None if rival is None else fits[0].share,
        sentence=sentence,
    )
