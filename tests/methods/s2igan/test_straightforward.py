"""Generator and discriminators beside a plain computation from their official state dicts, in float64."""

import pytest
import torch
import torch.nn.functional as F

from kdx2i.methods.s2igan.discriminators import Discriminator
from kdx2i.methods.s2igan.networks import Generator
from kdx2i.methods.s2igan.settings import Networks


def randomised(network):
    """Return a network in evaluation mode whose norms have statistics of their own, and its state in float64."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.normal_(module.bias, std=0.3)
    network.eval()
    return network, {name: tensor.double() for name, tensor in network.state_dict().items()}


def norm(state, name, x):
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    shape = (1, -1) + (1,) * (x.ndim - 2)
    y = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
    return y * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)


def gate(x):
    half = x.shape[1] // 2
    return x[:, :half] * torch.sigmoid(x[:, half:])


def conv(state, name, x, **options):
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def up(state, name, x):
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return gate(norm(state, f"{name}.2", conv(state, f"{name}.1", doubled, padding=1)))


def spread(code, x):
    return code[:, :, None, None].repeat(1, 1, *x.shape[2:])


def generate(state, z, speech, eps):
    code = gate(speech @ state["ca_net.fc.weight"].T + state["ca_net.fc.bias"])
    mu, logvar = code[:, : code.shape[1] // 2], code[:, code.shape[1] // 2 :]
    c = mu + eps * torch.exp(logvar / 2)
    h = gate(norm(state, "h_net1.fc.1", torch.cat([c, z], 1) @ state["h_net1.fc.0.weight"].T))
    h = h.reshape(len(z), -1, 4, 4)
    for number in range(1, 5):
        h = up(state, f"h_net1.upsample{number}", h)
    images = [torch.tanh(conv(state, "img_net1.img.0", h, padding=1))]
    for stage in (2, 3):
        name = f"h_net{stage}"
        x = conv(state, f"{name}.jointConv.0", torch.cat([spread(c, h), h], 1), padding=1)
        x = gate(norm(state, f"{name}.jointConv.1", x))
        for block in (0, 1):
            part = f"{name}.residual.{block}.block"
            y = gate(norm(state, f"{part}.1", conv(state, f"{part}.0", x, padding=1)))
            x = x + norm(state, f"{part}.4", conv(state, f"{part}.3", y, padding=1))
        h = up(state, f"{name}.upsample", torch.cat([x, h], 1))
        images.append(torch.tanh(conv(state, f"img_net{stage}.img.0", h, padding=1)))
    return mu, logvar, images


@pytest.mark.parametrize(
    "sizes",
    [
        {"gf_dim": 4, "condition_dim": 3, "noise_dim": 7, "speech_dim": 5},
        {"gf_dim": 6, "condition_dim": 9, "noise_dim": 4, "speech_dim": 12},
    ],
)
def test_the_generator_draws_what_its_tensors_say(sizes):
    network, state = randomised(Generator(Networks(**sizes), 256))
    z, speech, eps = (torch.randn(1, sizes[name]) for name in ("noise_dim", "speech_dim", "condition_dim"))
    with torch.no_grad():
        made = network(z, speech, eps)
        mu, logvar, images = generate(state, z.double(), speech.double(), eps.double())
    torch.testing.assert_close(made.mu.double(), mu, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made.logvar.double(), logvar, atol=1e-5, rtol=1e-4)
    assert [image.shape[-1] for image in made.images] == [64, 128, 256]
    for own, expected in zip(made.images, images, strict=True):
        torch.testing.assert_close(own.double(), expected, atol=2e-4, rtol=1e-3)


def judge(state, images, c, resolution):
    def lrelu(x):
        return torch.where(x > 0, x, 0.2 * x)

    def block(x, conv_name, norm_name, **options):
        return lrelu(norm(state, norm_name, conv(state, conv_name, x, **options)))

    x = lrelu(conv(state, "img_code_s16.0", images, stride=2, padding=1))
    for number in (2, 5, 8):
        x = block(x, f"img_code_s16.{number}", f"img_code_s16.{number + 1}", stride=2, padding=1)
    down = {64: (), 128: ("img_code_s32",), 256: ("img_code_s32", "img_code_s64")}[resolution]
    same = {64: (), 128: ("img_code_s32_1",), 256: ("img_code_s64_1", "img_code_s64_2")}[resolution]
    for name in down:
        x = block(x, f"{name}.0", f"{name}.1", stride=2, padding=1)
    for name in same:
        x = block(x, f"{name}.0", f"{name}.1", padding=1)
    joint = block(torch.cat([spread(c, x), x], 1), "jointConv.0", "jointConv.1", padding=1)
    heads = (("logits.0", joint), ("uncond_logits.0", x))
    return [(state[f"{name}.weight"] * y).sum((1, 2, 3)) + state[f"{name}.bias"] for name, y in heads]


@pytest.mark.parametrize(("resolution", "df_dim", "condition_dim"), [(64, 3, 5), (128, 2, 7), (256, 2, 3)])
def test_a_discriminator_judges_as_its_tensors_say(resolution, df_dim, condition_dim):
    network, state = randomised(Discriminator(resolution, df_dim, condition_dim))
    images, c = torch.rand(2, 3, resolution, resolution) * 2 - 1, torch.randn(2, condition_dim)
    with torch.no_grad():
        own = network(images, c)
        expected = judge(state, images.double(), c.double(), resolution)
    for logits, other in zip(own, expected, strict=True):
        torch.testing.assert_close(logits.double(), other, atol=1e-4, rtol=1e-3)
