"""Networks without their orthogonal starts: nothing that is drawn afterwards changes."""

import pytest
import torch
from torch import nn

from kdx2i.training.starts import weights_follow


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (6, 3, 3, 3), (2, 8, 1, 1)])
def test_the_generator_is_where_an_orthogonal_start_leaves_it(shape):
    torch.manual_seed(3)
    started = nn.init.orthogonal_(torch.empty(shape)).flatten(1)
    drawn = torch.rand(4)
    torch.manual_seed(3)
    with weights_follow():
        left = nn.init.orthogonal_(torch.empty(shape)).flatten(1)
    assert torch.equal(torch.rand(4), drawn)
    gram = started @ started.T if shape[0] <= started.shape[1] else started.T @ started
    torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
    assert not torch.allclose(left, started)


def test_other_starts_are_made_as_ever():
    torch.manual_seed(0)
    expected = nn.Linear(7, 3)
    torch.manual_seed(0)
    with weights_follow():
        made = nn.Linear(7, 3)
    assert torch.equal(made.weight, expected.weight) and torch.equal(made.bias, expected.bias)
    matrix = torch.randn(4, 4)
    torch.testing.assert_close(torch.linalg.qr(matrix).Q.T @ torch.linalg.qr(matrix).Q, torch.eye(4), atol=1e-5, rtol=0)
