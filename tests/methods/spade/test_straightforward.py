"""SPADE's networks at sizes without a fixture, against a computation in a line of functions, in float64."""

import pytest
import torch
import torch.nn.functional as F

from kdx2i.methods.families.label_maps.discriminator import MultiscaleDiscriminator
from kdx2i.methods.spade.networks import Encoder, Generator


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


def weight(state, name):
    """Return the weight of a layer, divided by u' W v where it is spectrally normalised."""
    if f"{name}.weight_orig" not in state:
        return state[f"{name}.weight"]
    w = state[f"{name}.weight_orig"]
    return w / (state[f"{name}.weight_u"] @ w.flatten(1) @ state[f"{name}.weight_v"])


def conv(state, name, x, **how):
    return F.conv2d(x, weight(state, name), state.get(f"{name}.bias"), **how)


def spade(state, name, x, maps, kernel):
    key = f"{name}.param_free_norm"
    if f"{key}.running_mean" in state:
        mean, var = (state[f"{key}.{part}"][None, :, None, None] for part in ("running_mean", "running_var"))
    else:
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
    normal = (x - mean) / (var + 1e-5).sqrt()
    rows = (torch.arange(x.shape[2]) * maps.shape[2]) // x.shape[2]
    columns = (torch.arange(x.shape[3]) * maps.shape[3]) // x.shape[3]
    h = conv(state, f"{name}.mlp_shared.0", maps[:, :, rows][..., columns], padding=kernel // 2).relu()
    gamma, beta = (conv(state, f"{name}.mlp_{part}", h, padding=kernel // 2) for part in ("gamma", "beta"))
    return normal * (1 + gamma) + beta


def block(state, name, x, maps, kernel):
    def lrelu(y):
        return torch.where(y > 0, y, 0.2 * y)

    inner = conv(state, f"{name}.conv_0", lrelu(spade(state, f"{name}.norm_0", x, maps, kernel)), padding=1)
    inner = conv(state, f"{name}.conv_1", lrelu(spade(state, f"{name}.norm_1", inner, maps, kernel)), padding=1)
    if f"{name}.conv_s.weight_orig" in state or f"{name}.conv_s.weight" in state:
        x = conv(state, f"{name}.conv_s", spade(state, f"{name}.norm_s", x, maps, kernel))
    return x + inner


def double(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def generated(state, maps, side, depth, kernel):
    rows = torch.arange(side[0]) * (maps.shape[2] // side[0])
    columns = torch.arange(side[1]) * (maps.shape[3] // side[1])
    x = conv(state, "fc", maps[:, :, rows][..., columns], padding=1)
    x = block(state, "head_0", x, maps, kernel)
    x = block(state, "G_middle_0", double(x), maps, kernel)
    x = block(state, "G_middle_1", x if depth == "normal" else double(x), maps, kernel)
    for number in range(5 if depth == "most" else 4):
        x = block(state, f"up_{number}", double(x), maps, kernel)
    return torch.tanh(conv(state, "conv_img", torch.where(x > 0, x, 0.2 * x), padding=1))


@pytest.mark.parametrize(
    ("depth", "crop", "ratio", "norm", "side"),
    [
        ("more", 128, 2.0, "spectralspadesyncbatch5x5", (1, 2)),
        ("most", 128, 1.0, "spadebatch3x3", (1, 1)),
        ("normal", 64, 1.0, "spectralspadeinstance1x1", (2, 2)),
    ],
)
def test_generator(depth, crop, ratio, norm, side):
    network = Generator(2, 3, crop, ratio, depth, norm_G=norm, hidden=6)
    state = filled(network)
    labels = torch.randint(0, 3, (1, round(crop / ratio), crop))
    maps = F.one_hot(labels, 3).permute(0, 3, 1, 2).double()
    torch.testing.assert_close(network(maps), generated(state, maps, side, depth, int(norm[-1])), rtol=1e-9, atol=1e-9)


def test_discriminator_of_three_scales():
    network = MultiscaleDiscriminator(5, 3, scales=3, layers=3)
    state = filled(network)
    x = torch.rand(2, 5, 36, 28, dtype=torch.float64)
    for scale, outputs in enumerate(network(x)):
        y = x
        for layer, (stride, own) in enumerate(zip((2, 2, 1, 1), outputs, strict=True)):
            inner = f"discriminator_{scale}.model{layer}.0" + (".0" if layer in (1, 2) else "")
            y = conv(state, inner, y, stride=1 if layer >= 2 else stride, padding=2)
            if layer in (1, 2):
                spread = y.var((2, 3), keepdim=True, correction=0)
                y = (y - y.mean((2, 3), keepdim=True)) / (spread + 1e-5).sqrt()
            y = torch.where(y > 0, y, 0.2 * y) if layer < 3 else y
            torch.testing.assert_close(own, y, rtol=1e-9, atol=1e-9)
        counts = F.avg_pool2d(torch.ones_like(x), 3, 2, 1)
        x = F.avg_pool2d(x, 3, 2, 1) / counts


def test_encoder_resizes_what_is_not_256_px():
    network = Encoder(2, 512)
    state = filled(network)
    x = torch.rand(1, 3, 128, 128, dtype=torch.float64)
    y = F.interpolate(x, (256, 256), mode="bilinear", align_corners=False)
    for number in range(1, 7):
        y = y if number == 1 else torch.where(y > 0, y, 0.2 * y)
        y = conv(state, f"layer{number}.0", y, stride=2, padding=1)
        y = (y - y.mean((2, 3), keepdim=True)) / (y.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    flat = torch.where(y > 0, y, 0.2 * y).flatten(1)
    for own, name in zip(network(x), ("fc_mu", "fc_var"), strict=True):
        wanted = flat @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        torch.testing.assert_close(own, wanted, rtol=1e-9, atol=1e-9)
