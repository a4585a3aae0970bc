"""How many seeds would tell: the size of a sample from a measured spread."""

import math

from scipy import special

ERROR = 0.025
"""The chance that a one-sided test finds a gain that is not there: one side of a 95% interval."""
POWER = 0.8
MOST = 1000
"""More seeds than these are not counted."""


def seeds_that_tell(
    distance: float, deviation: float, *, columns: int = 1, error: float = ERROR, power: float = POWER
) -> int | None:
    """Return the smallest number of seeds with which a Student test tells on which side of a margin a gain lies.

    `distance` is how far the measured mean gain lies from the margin, `deviation` the standard deviation of the gain
    over seeds, both in the same unit; `columns` data sets share that deviation. If both are what they were measured
    to be, n seeds give a statistic with f = columns (n - 1) degrees of freedom that follows a noncentral t
    distribution with noncentrality sqrt(n) distance / deviation. A one-sided test at `error` tells when it exceeds
    the quantile t_f(1 - error), so the answer is the least n from 2 on with

        P(T_f(sqrt(n) distance / deviation) > t_f(1 - error)) >= power.

    None where that takes more than `MOST` seeds, as where the gain lies on the margin. The measured numbers are
    uncertain themselves, most of all after few seeds: the answer is an order of magnitude.
    """
    if distance <= 0:
        return None
    if deviation <= 0:
        return 2

    def tells(seeds: int) -> bool:
        freedom = columns * (seeds - 1)
        shift = math.sqrt(seeds) * distance / deviation
        threshold = -float(special.stdtrit(freedom, error))
        if shift > threshold + 10:  # far beyond any power; the noncentral distribution is not computed well there
            return True
        return 1.0 - float(special.nctdtr(freedom, shift, threshold)) >= power

    if not tells(MOST):
        return None
    low, high = 1, MOST  # the power grows with the number of seeds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high
