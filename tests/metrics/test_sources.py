"""The list of translations that every method is asked for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdx2i.errors import UserError
from kdx2i.metrics.sources import draw_requests

KINDS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30)


@given(KINDS, st.integers(1, 12), st.integers(0, 1000))
def test_requests(drawn: list[tuple[int, bool]], per_class: int, seed: int) -> None:
    pairs = [*drawn, *((label, role) for label in range(4) for role in (False, True))]
    labels, is_test = torch.tensor([pair[0] for pair in pairs]), torch.tensor([pair[1] for pair in pairs])
    found = draw_requests(labels, is_test, 4, per_class, seed)
    assert found.targets.tolist() == [label for label in range(4) for _ in range(per_class)]
    assert bool((labels[found.sources] != found.targets).all()) and bool(is_test[found.sources].all())
    assert bool((labels[found.references] == found.targets).all()) and not bool(is_test[found.references].any())
    for label in range(4):
        mine = found.sources[found.targets == label].tolist()
        others = int(((labels != label) & is_test).sum())
        assert max(map(mine.count, mine)) <= -(-per_class // others)  # none twice before all once
    again = draw_requests(labels, is_test, 4, per_class, seed)
    assert torch.equal(again.sources, found.sources) and torch.equal(again.references, found.references)


def test_training_sources_where_there_is_no_test_image() -> None:
    labels, is_test = torch.tensor([0, 1]), torch.tensor([False, False])
    assert draw_requests(labels, is_test, 2, 3, 0).sources.tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(("labels", "classes"), [([0, 0], 1), ([0, 1], 3)])
def test_too_little_is_one_sentence(labels: list[int], classes: int) -> None:
    with pytest.raises(UserError, match="lack"):
        draw_requests(torch.tensor(labels), torch.tensor([False] * len(labels)), classes, 2, 0)
