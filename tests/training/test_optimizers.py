"""Adam as the suite builds it."""

import copy

import pytest
import torch
from repository import assert_not_imported

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


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_equals_pytorchs_bit_by_bit(decay):
    """Over groups, a parameter that sometimes has no gradient, changed rates and a restored state."""
    weights = [torch.randn(4, 3, 3, 3), torch.randn(5), torch.randn(2, 7)]
    mine, theirs = ([torch.nn.Parameter(w.clone()) for w in weights] for _ in range(2))
    groups = [[{"params": side[:2]}, {"params": side[2:], "lr": 0.02}] for side in (mine, theirs)]
    ours = adam(groups[0], 0.01, (0.5, 0.99), weight_decay=decay)
    other = torch.optim.Adam(groups[1], lr=0.01, betas=(0.5, 0.99), weight_decay=decay, foreach=True)
    for step in range(6):
        for optimizer in (ours, other):
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            if number != step % 3:
                a.grad = torch.randn_like(a)
                b.grad = a.grad.clone()
        if step == 3:
            ours.load_state_dict(copy.deepcopy(other.state_dict()))
        ours.step()
        other.step()
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert all(
        torch.equal(ours.state[a][key], other.state[b][key])
        for a, b in zip(mine, theirs, strict=True)
        for key in other.state[b]
    )


def test_training_does_not_import_pytorchs_compiler():
    """It takes a second or two of every job."""
    code = (
        "import torch\n"
        "import kdx2i.stages.train\n"
        "from kdx2i.training.checkpoint import optimizer_tensors\n"
        "from kdx2i.training.optimizers import adam, step_optimizers\n"
        "from kdx2i.training.determinism import make_deterministic\n"
        "make_deterministic()\n"
        "weight = torch.nn.Parameter(torch.ones(3))\n"
        "optimizer = adam([weight], 0.1, (0.0, 0.99))\n"
        "step_optimizers(weight.square().sum(), optimizer)\n"
        "assert optimizer_tensors(optimizer)['0.step'] == 1\n"
    )
    assert_not_imported(code, "torch._dynamo")
