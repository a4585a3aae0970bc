"""A larger teacher starts from a smaller one: all that fits is copied exactly, the rest keeps its start."""

import pytest
import tiny
import torch

from kdx2i.errors import UserError
from kdx2i.teacher.stylegan2.growing import grow_from


def test_generator_keeps_everything_up_to_the_smaller_resolution():
    small, large = tiny.teacher(8, seed=1).generator, tiny.teacher(16, seed=2).generator
    smaller, before = small.state_dict(), {k: v.clone() for k, v in large.state_dict().items()}
    copied = grow_from(large, smaller)
    after = large.state_dict()
    assert set(copied) == set(smaller)
    assert all(torch.equal(after[name], smaller[name]) for name in copied)
    kept = set(before) - set(copied)
    assert kept
    assert all(name.startswith("synthesis.b16.") for name in kept)
    assert all(torch.equal(after[name], before[name]) for name in kept)
    z = torch.randn(2, 6)
    features = [g.synthesis(g.styles(z), "const")[1] for g in (small, large)]
    assert torch.equal(features[0][8], features[1][8])


def test_discriminator_keeps_all_but_the_entrance_of_the_smaller_one():
    small, large = tiny.teacher(8, seed=1).discriminator, tiny.teacher(16, seed=2).discriminator
    smaller, before = small.state_dict(), {k: v.clone() for k, v in large.state_dict().items()}
    copied = grow_from(large, smaller)
    assert {name for name in smaller if name not in copied} == {
        name for name in smaller if name.startswith("b8.fromrgb")
    }
    after = large.state_dict()
    assert all(torch.equal(after[name], smaller[name]) for name in copied)
    assert all(torch.equal(after[name], before[name]) for name in set(before) - set(copied))


def test_tensors_are_copied_not_shared():
    small, large = tiny.teacher(8, seed=1).generator, tiny.teacher(16, seed=2).generator
    grow_from(large, small.state_dict())
    with torch.no_grad():
        small.synthesis.b4.const += 1
    assert not torch.equal(small.synthesis.b4.const, large.synthesis.b4.const)


def test_half_precision_tensors_are_converted():
    small, large = tiny.teacher(8, seed=1).generator, tiny.teacher(16, seed=2).generator
    grow_from(large, {name: tensor.half() for name, tensor in small.state_dict().items()})
    assert large.synthesis.b4.const.dtype == torch.float32
    assert torch.equal(large.synthesis.b4.const, small.synthesis.b4.const.half().float())


def test_teacher_of_other_widths_is_refused():
    small, large = tiny.teacher(8, widths=[5, 3], w_dim=5).generator, tiny.teacher(16).generator
    before = {k: v.clone() for k, v in large.state_dict().items()}
    with pytest.raises(UserError, match="its widths at the shared resolutions must be the same"):
        grow_from(large, small.state_dict())
    assert all(torch.equal(v, before[k]) for k, v in large.state_dict().items())
