"""Retrieval of the right condition of an image among others (R-precision, AttnGAN, section 4), from scores of pairs."""

import math

import torch
from torch import Tensor

TRIALS = 1000


def first_shares(scores: Tensor, pool: int) -> Tensor:
    """Return how often each candidate is first among `pool` of them, float64 [N, M], for scores [N, M] of N queries.

    The other pool - 1 candidates are drawn without replacement: the values are the exact probabilities over all
    draws. Candidates of one score are first equally often. `ValueError` for a pool of less than 1 or more than M.
    """
    count = scores.shape[1]
    if not 1 <= pool <= count:
        raise ValueError(f"a pool of {pool} cannot be drawn from {count} candidates")
    # With b better candidates among the others, none of them is drawn this often:
    missed = [math.comb(count - 1 - better, pool - 1) / math.comb(count - 1, pool - 1) for better in range(count)]
    summed = torch.cat([torch.zeros(1, dtype=torch.float64), torch.tensor(missed, dtype=torch.float64).cumsum(0)])
    better = (scores[:, None, :] > scores[:, :, None]).sum(2)
    alike = (scores[:, None, :] == scores[:, :, None]).sum(2)
    return (summed[better + alike] - summed[better]) / alike


def wins(scores: Tensor) -> Tensor:
    """Return which of two candidates fits a query better, float64 [N, N], for scores [N, N] of pairs.

    `wins[i, j]` is 1 where query i scores higher with its own candidate i than with j, 0.5 for a tie, 0 otherwise.
    """
    own = scores.diagonal()[:, None]
    return (own > scores).double() + (own == scores).double() / 2


def win_rate(won: Tensor) -> tuple[float, float | None]:
    """Return the mean of `wins` [N, N] over all pairs of two, and its standard error (None for N = 2).

    It is the delete-one jackknife's: a query is left out together with its candidate, since both come from one image.
    """
    count = len(won)
    apart = won - torch.diag(won.diagonal())
    without = (apart.sum() - apart.sum(0) - apart.sum(1)) / max(1, (count - 1) * (count - 2))
    value = float(apart.sum()) / (count * (count - 1))
    error = math.sqrt((count - 1) / count * float((without - without.mean()).square().sum()))
    return value, error if count > 2 else None


def matched(shares: Tensor) -> dict[str, float]:
    """Return what shares [N, N] say of pairs (i, i), in %.

    `right`: how often the right candidate is first. `chance`: the mean of all pairs. `chance_95`: what 95 % of 1,000
    random pairings of the queries with the candidates do not exceed.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(len(shares))
    drawn = torch.stack([shares[rows, torch.randperm(len(shares), generator=generator)].mean() for _ in range(TRIALS)])
    values = {"right": shares.diagonal().mean(), "chance": shares.mean(), "chance_95": drawn.quantile(0.95)}
    return {name: round(100.0 * float(value), 3) for name, value in values.items()}
