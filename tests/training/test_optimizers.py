"""Adam as the suite builds it."""

import pytest
import torch

from kdx2i.training.optimizers import adam


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_adam_pairs_weights_and_gradients_of_any_layout(layout):
    """A gradient may lie in memory in another order than its weight; by the formula of Kingma and Ba, first step."""
    weight = torch.randn(4, 3, 3, 3)
    gradient = torch.randn(4, 3, 3, 3)
    parameter = torch.nn.Parameter(weight.clone().to(memory_format=torch.channels_last))
    parameter.grad = gradient.clone().to(memory_format=layout)
    adam([parameter], 0.1, (0.0, 0.99), eps=1e-3, weight_decay=0.5).step()
    decayed = gradient + 0.5 * weight
    torch.testing.assert_close(parameter.detach(), weight - 0.1 * decayed / (decayed.abs() + 1e-3))
