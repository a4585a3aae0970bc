"""OASIS's networks at sizes without a fixture, against a computation in a line of functions, in float64."""

import pytest
import torch
import torch.nn.functional as F

from kdx2i.methods.oasis.networks import Discriminator, Generator


def filled(network, seed=0):
    """Fill a network with random float64 numbers, variances positive, and return its state."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor = torch.randn(tensor.shape, generator=generator) / max(1, tensor[0].numel()) ** 0.5
            tensor = tensor.abs() + 0.5 if name.endswith("running_var") else tensor
        state[name] = tensor
    network.load_state_dict(state)
    network.double().eval()
    return {name: tensor.double() for name, tensor in state.items()}


def conv(state, name, x, **how):
    weight = state.get(f"{name}.weight")
    if weight is None:
        weight = state[f"{name}.weight_orig"]
        weight = weight / (state[f"{name}.weight_u"] @ weight.flatten(1) @ state[f"{name}.weight_v"])
    return F.conv2d(x, weight, state.get(f"{name}.bias"), **how)


def lrelu(x):
    return torch.where(x > 0, x, 0.2 * x)


def double(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def adaptive(state, name, x, seg, kernel):
    mean, var = (state[f"{name}.first_norm.{part}"][None, :, None, None] for part in ("running_mean", "running_var"))
    step = [seg.shape[axis] // x.shape[axis] for axis in (2, 3)]
    h = conv(state, f"{name}.mlp_shared.0", seg[:, :, :: step[0], :: step[1]], padding=kernel // 2).relu()
    gamma, beta = (conv(state, f"{name}.mlp_{part}", h, padding=kernel // 2) for part in ("gamma", "beta"))
    return (x - mean) / (var + 1e-5).sqrt() * (1 + gamma) + beta


@pytest.mark.parametrize(("crop", "ratio", "kernel", "plain"), [(128, 2.0, 1, False), (64, 1.0, 5, True)])
def test_generator(crop, ratio, kernel, plain):
    network = Generator(2, 3, 5, crop, ratio, spade_ks=kernel, no_spectral_norm=plain, hidden=4)
    state = filled(network)
    height = round(crop / ratio)
    maps = F.one_hot(torch.randint(0, 3, (2, height, crop)), 3).permute(0, 3, 1, 2).double()
    z = torch.randn(2, 5, dtype=torch.float64)
    seg = torch.cat([z[:, :, None, None].expand(-1, -1, height, crop), maps], 1)
    x = conv(state, "fc", seg[:, :, ::32, ::32], padding=1)
    for number in range(6):
        name = f"body.{number}"
        inner = conv(state, f"{name}.conv_0", lrelu(adaptive(state, f"{name}.norm_0", x, seg, kernel)), padding=1)
        inner = conv(state, f"{name}.conv_1", lrelu(adaptive(state, f"{name}.norm_1", inner, seg, kernel)), padding=1)
        if number >= 2:
            x = conv(state, f"{name}.conv_s", adaptive(state, f"{name}.norm_s", x, seg, kernel))
        x = x + inner
        x = double(x) if number < 5 else x
    image = torch.tanh(conv(state, "conv_img", lrelu(x), padding=1))
    torch.testing.assert_close(network(maps, z), image, rtol=1e-9, atol=1e-9)


def half(x):
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def down(state, name, x, first):
    inner = (
        conv(state, f"{name}.conv1.0", x, padding=1) if first else conv(state, f"{name}.conv1.1", lrelu(x), padding=1)
    )
    inner = half(conv(state, f"{name}.conv2.1", lrelu(inner), padding=1))
    learned = any(key.startswith(f"{name}.conv_s.") for key in state)
    x = half(x) if first else x
    x = conv(state, f"{name}.conv_s", x) if learned else x
    return inner + (x if first else half(x))


def up(state, name, x):
    inner = conv(state, f"{name}.conv1.2", double(lrelu(x)), padding=1)
    inner = conv(state, f"{name}.conv2.1", lrelu(inner), padding=1)
    x = double(x)
    return inner + (conv(state, f"{name}.conv_s", x) if any(k.startswith(f"{name}.conv_s.") for k in state) else x)


@pytest.mark.parametrize("plain", [False, True])
def test_discriminator(plain):
    network = Discriminator(3, no_spectral_norm=plain, channels=(3, 4, 4, 6, 6, 8, 8))
    state = filled(network)
    x = torch.rand(2, 3, 64, 128, dtype=torch.float64)
    outputs = []
    y = x
    for number in range(6):
        y = down(state, f"body_down.{number}", y, number == 0)
        outputs.append(y)
    y = up(state, "body_up.0", y)
    for number in range(1, 6):
        y = up(state, f"body_up.{number}", torch.cat([outputs[5 - number], y], 1))
    torch.testing.assert_close(network(x), conv(state, "layer_up_last", y), rtol=1e-9, atol=1e-9)
    assert network(x).shape == (2, 4, 64, 128)
