"""What subjects prefer: shares with intervals, strengths of all rows, and how far subjects agree.

Choices of one subject are not independent, so intervals come from resampling whole subjects (the cluster bootstrap);
below two subjects there is none. Agreement is Fleiss' kappa over the pairs of one request that two or more subjects
judged, whose number differs from pair to pair: the observed agreement of each pair is that of its own raters.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import choix
import numpy as np

from kdx2i.config import Strict
from kdx2i.study.answers import Subject
from kdx2i.study.design import StudyKey

RESAMPLES = 1000
_REGULAR = 0.01  # choix: keeps strengths finite where a row wins or loses every pair.
_TAILS = (2.5, 97.5)


class Share(Strict):
    """How often ours was preferred to a row, as a share of `pairs`; `low` and `high`: 95%, None below two subjects."""

    row: str
    pairs: int
    share: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """What the interval says of ours."""
        if self.low is None or self.high is None:
            return "cannot tell"
        if self.low > 0.5:
            return "ours preferred"
        return "other preferred" if self.high < 0.5 else "cannot tell"


class Strength(Strict):
    """The Bradley-Terry strength of a row, a log odds with mean zero over the rows."""

    row: str
    strength: float
    low: float | None
    high: float | None


class StudyResult(Strict):
    """The analysis of a study. `kappa` is None where no pair was judged by two subjects, or all answers are alike."""

    study: str
    subjects: int
    planned_subjects: int
    complete: int
    careless: list[int]
    choices: int
    planned_choices: int
    overall: Share | None
    shares: list[Share]
    strengths: list[Strength]
    kappa: float | None
    judged_twice: int


def analyse(key: StudyKey, subjects: Sequence[Subject]) -> StudyResult:
    """Analyse the answers of subjects; those that fail the attention checks are left out and named."""
    kept = [subject for subject in subjects if not subject.careless]
    wins, pairs = _counts(kept, len(key.config.others))
    draws = _resampled(len(kept), key.config.seed)

    def bounds(statistic: Callable[[Any, Any], Any]) -> list[tuple[float | None, float | None]]:
        values = [statistic(wins[draw].sum(axis=0), pairs[draw].sum(axis=0)) for draw in draws]
        if not values:
            return [(None, None)] * len(np.atleast_1d(statistic(wins.sum(axis=0), pairs.sum(axis=0))))
        low, high = np.nanpercentile(np.atleast_2d(np.array(values)), _TAILS, axis=0)
        return [(_number(a), _number(b)) for a, b in zip(np.atleast_1d(low), np.atleast_1d(high), strict=True)]

    total_wins, total_pairs = wins.sum(axis=0), pairs.sum(axis=0)
    kappa, twice = fleiss_kappa(_ratings(kept))
    shares, strengths = [], []
    if total_pairs.sum():
        for name, index, (low, high) in zip(key.config.others, range(len(pairs[0])), bounds(_shares), strict=True):
            if total_pairs[index]:
                share = float(total_wins[index] / total_pairs[index])
                shares.append(Share(row=name, pairs=int(total_pairs[index]), share=share, low=low, high=high))
        for name, value, (low, high) in zip(
            key.rows, _strengths(total_wins, total_pairs), bounds(_strengths), strict=True
        ):
            strengths.append(Strength(row=name, strength=float(value), low=low, high=high))
    return StudyResult(
        study=key.study,
        subjects=len(kept),
        planned_subjects=key.config.subjects,
        complete=sum(subject.complete for subject in kept),
        careless=[subject.number for subject in subjects if subject.careless],
        choices=int(total_pairs.sum()),
        planned_choices=key.config.subjects * key.config.pairs,
        overall=_overall(total_wins, total_pairs, bounds),
        shares=shares,
        strengths=sorted(strengths, key=lambda item: -item.strength),
        kappa=kappa,
        judged_twice=twice,
    )


def _overall(wins: Any, pairs: Any, bounds: Callable[..., list[tuple[float | None, float | None]]]) -> Share | None:
    """Return the share of ours over all rows together."""
    if not pairs.sum():
        return None
    ((low, high),) = bounds(lambda w, p: [w.sum() / p.sum() if p.sum() else np.nan])
    return Share(row="all others", pairs=int(pairs.sum()), share=float(wins.sum() / pairs.sum()), low=low, high=high)


def _counts(subjects: Sequence[Subject], others: int) -> tuple[Any, Any]:
    """Return how often each subject preferred ours to each other row, and how often it was asked: int [S, others]."""
    wins, pairs = np.zeros((len(subjects), others), int), np.zeros((len(subjects), others), int)
    for number, subject in enumerate(subjects):
        for choice in subject.choices:
            wins[number, choice.row - 1] += choice.ours
            pairs[number, choice.row - 1] += 1
    return wins, pairs


def _resampled(subjects: int, seed: int) -> list[Any]:
    """Return the subjects of each resample, drawn with replacement; none below two subjects."""
    if subjects < 2:
        return []
    return list(np.random.default_rng(seed).integers(subjects, size=(RESAMPLES, subjects)))


def _shares(wins: Any, pairs: Any) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        return wins / pairs


def _strengths(wins: Any, pairs: Any) -> Any:
    """Return the Bradley-Terry strengths of ours and of each other row, by choix's iterative Luce spectral ranking.

    All pairs have ours on one side, so that the counts are enough: their log odds, regularised.
    """
    data = np.zeros((len(wins) + 1, len(wins) + 1))
    data[0, 1:], data[1:, 0] = wins, pairs - wins
    return choix.ilsr_pairwise_dense(data, _REGULAR)


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _ratings(subjects: Sequence[Subject]) -> dict[tuple[int, int], list[bool]]:
    """Return the answers by pair (other row, request), one a subject."""
    ratings: dict[tuple[int, int], dict[int, bool]] = {}
    for subject in subjects:
        for choice in subject.choices:
            ratings.setdefault((choice.row, choice.request), {}).setdefault(subject.number, choice.ours)
    return {pair: list(by_subject.values()) for pair, by_subject in ratings.items()}


def fleiss_kappa(ratings: Mapping[Any, Sequence[bool]]) -> tuple[float | None, int]:
    """Return Fleiss' kappa of two categories over the items that two or more rated, and the number of these items.

    Items may have different numbers of raters: each has the share of its own pairs of raters that agree. None where
    no item was rated twice, or where chance alone makes all agree.
    """
    counts = [(sum(answers), len(answers)) for answers in ratings.values() if len(answers) > 1]
    if not counts:
        return None, 0
    agreed = [(n * (n - 1) + (m - n) * (m - n - 1)) / (m * (m - 1)) for n, m in counts]
    first = sum(n for n, _ in counts) / sum(m for _, m in counts)
    chance = first**2 + (1 - first) ** 2
    observed = sum(agreed) / len(agreed)
    return (None if chance == 1 else (observed - chance) / (1 - chance)), len(counts)
