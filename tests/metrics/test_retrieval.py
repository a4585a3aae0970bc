"""Retrieval against enumeration of every pool."""

from itertools import combinations

import pytest
import torch

from kdx2i.metrics.retrieval import first_shares, matched


def enumerated(scores: torch.Tensor, pool: int) -> torch.Tensor:
    """Return the share of pools with a candidate in which it is first; ties are divided."""
    queries, count = scores.shape
    shares = torch.zeros(queries, count, dtype=torch.float64)
    for query in range(queries):
        for own in range(count):
            pools = list(combinations([c for c in range(count) if c != own], pool - 1))
            for others in pools:
                values = scores[query, [own, *others]]
                if values[0] == values.max():
                    shares[query, own] += 1 / int((values == values.max()).sum()) / len(pools)
    return shares


@pytest.mark.parametrize("pool", [1, 2, 4, 6])
def test_shares_are_those_of_all_pools(pool: int) -> None:
    torch.manual_seed(pool)
    scores = torch.randint(0, 4, (5, 6)).float()  # many ties
    assert torch.allclose(first_shares(scores, pool), enumerated(scores, pool), atol=1e-12)


def test_every_query_has_one_first_candidate() -> None:
    scores = torch.randn(7, 7).round(decimals=1)
    assert torch.allclose(first_shares(scores, 7).sum(1), torch.ones(7, dtype=torch.float64))


def test_right_and_chance() -> None:
    perfect = matched(first_shares(torch.eye(20), 20))
    assert perfect["right"] == 100.0 and perfect["chance"] == 5.0 and perfect["chance_95"] < 25.0
    blind = matched(first_shares(torch.zeros(20, 20), 20))
    assert blind["right"] == blind["chance"] == blind["chance_95"] == 5.0
    torch.manual_seed(0)
    assert matched(first_shares(torch.randn(40, 40), 10))["chance"] == pytest.approx(10.0)


@pytest.mark.parametrize("pool", [0, 4])
def test_a_pool_that_cannot_be_drawn_is_refused(pool: int) -> None:
    with pytest.raises(ValueError, match=f"a pool of {pool} cannot be drawn from 3 candidates"):
        first_shares(torch.zeros(2, 3), pool)
