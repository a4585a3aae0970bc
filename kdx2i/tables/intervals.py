"""Small statistics over seeds: means, Student intervals, Kendall's tau-b. Order never matters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A closed interval of finite numbers."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of its length."""
        return (self.high - self.low) / 2


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one finite number, the same in any order."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation (n - 1) of at least two finite numbers."""
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95% Student interval of the mean over seeds; None below two values."""
    return _student(values, math.sqrt(1 / len(values))) if len(values) > 1 else None


def prediction_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95% interval of one more run with another seed; None below two values."""
    return _student(values, math.sqrt(1 + 1 / len(values))) if len(values) > 1 else None


def _student(values: Sequence[float], scale: float) -> Interval:
    """Return the mean plus and minus the 95% Student quantile times the deviation times `scale`."""
    quantile = float(special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    reach = quantile * deviation(values) * scale
    return Interval(mean(values) - reach, mean(values) + reach)


@dataclass(frozen=True)
class Agreement:
    """How two orders of the same rows agree: Kendall's tau-b, and the pairs that it counts.

    `tau` is None below two rows and where one side ties every pair: it is undefined there.
    """

    rows: int
    tau: float | None
    concordant: int
    discordant: int
    tied: int


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement:
    """Return Kendall's tau-b between two equally long lists, and the counts of its pairs.

    tau-b is (concordant - discordant) / sqrt(pairs untied in the first x pairs untied in the second); None where
    a list has one value only.
    """
    pairs = [(i, j) for i in range(len(first)) for j in range(i)]
    here, there = ([_sign(values[i] - values[j]) for i, j in pairs] for values in (first, second))
    signs = [a * b for a, b in zip(here, there, strict=True)]
    untied_here, untied_there = (len(pairs) - values.count(0) for values in (here, there))
    tau = sum(signs) / math.sqrt(untied_here * untied_there) if untied_here and untied_there else None
    return Agreement(len(first), tau, signs.count(1), signs.count(-1), signs.count(0))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
