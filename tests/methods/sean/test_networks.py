"""SEAN's networks against straightforward computations, at sizes that no fixture has, and their hooks for stage 1."""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from kdx2i.errors import UserError
from kdx2i.methods.sean.blocks import Layout, RegionAdaptiveNorm, SpectralConv2d
from kdx2i.methods.sean.discriminator import Discriminator
from kdx2i.methods.sean.networks import Generator, StyleEncoder, initialise, one_hot, pooled

LABELS, LENGTH = 3, 6


def scattered(maps, means):
    """The official loop: each region's mean code in its pixels, later regions over earlier ones."""
    result = torch.zeros(len(maps), means.shape[2], *maps.shape[2:], dtype=means.dtype)
    for image in range(len(maps)):
        for label in range(maps.shape[1]):
            for y, x in torch.nonzero(maps[image, label]).tolist():
                result[image, :, y, x] = means[image, label]
    return result


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("kind", ["one-hot", "ones", "holes"])
def test_styles_are_those_of_the_scattered_map(size, kind):
    torch.manual_seed(0)
    norm = RegionAdaptiveNorm(4, LABELS, style_length=LENGTH, style_layers=5, hidden=2).double()
    maps = one_hot(torch.randint(0, 2, (2, size, size)), LABELS).double()
    if kind != "one-hot":
        maps = torch.ones_like(maps) if kind == "ones" else maps * (torch.rand(2, 1, size, size) < 0.5)
    codes = torch.randn(2, LABELS, LENGTH, dtype=torch.float64)
    layers = [getattr(norm, f"fc_mu{label}") for label in range(LABELS)]
    means = torch.stack([layer(codes[:, label]).relu() for label, layer in enumerate(layers)], 1)
    wide = scattered(maps, means)
    gamma, beta = norm.styles(Layout(maps).at(size, size)[1], codes)
    torch.testing.assert_close(gamma, norm.conv_gamma(wide))
    torch.testing.assert_close(beta, norm.conv_beta(wide))


def test_the_normalisation_is_its_formula():
    torch.manual_seed(1)
    norm = RegionAdaptiveNorm(4, LABELS, style_length=LENGTH, style_layers=LABELS, hidden=2).double()
    torch.nn.init.normal_(norm.noise_var)
    torch.nn.init.constant_(norm.blending_gamma, math.log(3.0))  # three quarters of the styles, a quarter of the map
    x, codes = torch.randn(2, 4, 6, 5).double(), torch.randn(2, LABELS, LENGTH).double()
    maps = one_hot(torch.randint(0, LABELS, (2, 12, 10)), LABELS).double()
    noise = torch.randn(2, 5, 6, 1).double()
    result = norm(x, Layout(maps), codes, noise)
    noisy = x + torch.einsum("bwho,c->bchw", noise, norm.noise_var)
    mean, variance = noisy.mean((0, 2, 3), keepdim=True), noisy.var((0, 2, 3), keepdim=True, unbiased=False)
    small, regions = Layout(maps).at(6, 5)
    assert torch.equal(small, maps[..., ::2, ::2])
    (gamma_s, beta_s), (gamma_o, beta_o) = norm.styles(regions, codes), norm.Spade(small)
    gamma, beta = 0.75 * gamma_s + 0.25 * gamma_o, 0.5 * beta_s + 0.5 * beta_o
    torch.testing.assert_close(result, (noisy - mean) / (variance + 1e-5).sqrt() * (1 + gamma) + beta)


def test_codes_are_means_over_regions_and_zero_without_pixels():
    features = torch.arange(2 * 5 * 4 * 4).reshape(2, 5, 4, 4).float()
    numbers = torch.randint(0, 2, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    codes, counts = pooled(features, one_hot(numbers, LABELS))
    small = numbers[:, ::2, ::2]
    for image in range(2):
        for label in range(2):
            chosen = features[image][:, small[image] == label]
            torch.testing.assert_close(codes[image, label], chosen.mean(1))
            assert counts[image, label] == chosen.shape[1] > 0
    assert not codes[:, 2].any() and not counts[:, 2].any()


def test_the_encoder_halves_the_image():
    encoder = StyleEncoder(3, LENGTH, ngf=2)
    codes, present = encoder.encode(torch.randn(2, 3, 16, 24), one_hot(torch.zeros(2, 16, 24), LABELS))
    assert codes.shape == (2, LABELS, LENGTH)
    assert present.tolist() == [[True, False, False]] * 2
    assert encoder.model(torch.randn(1, 3, 16, 24)).shape == (1, LENGTH, 8, 12)


def test_spectral_normalisation_is_that_of_torch():
    torch.manual_seed(0)
    own = SpectralConv2d(3, 4, 3, 2, 1)
    plain = torch.nn.Conv2d(3, 4, 3, 2, 1)
    other = torch.nn.utils.spectral_norm(plain)
    other.load_state_dict(own.state_dict())
    for training in (True, True, False, True):
        x = torch.randn(2, 3, 8, 8)
        torch.testing.assert_close(own.train(training)(x), other.train(training)(x))
    for one, two in zip(own.state_dict().items(), sorted(other.state_dict().items()), strict=False):
        assert one[0] in other.state_dict() and two[0] in own.state_dict()
        torch.testing.assert_close(one[1], other.state_dict()[one[0]])


def norm_shapes(channels, labels, *, styled):
    """The state list of a normalisation of the official code."""
    shapes = {"blending_gamma": (1,), "blending_beta": (1,), "noise_var": (channels,)}
    for name in ("param_free_norm", "Spade.param_free_norm"):
        shapes |= {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}
        shapes[f"{name}.num_batches_tracked"] = ()
    layers = {
        "Spade.mlp_shared.0": (128, labels),
        "Spade.mlp_gamma": (channels, 128),
        "Spade.mlp_beta": (channels, 128),
    }
    if styled:
        layers |= {"conv_gamma": (channels, 512), "conv_beta": (channels, 512)}
        for label in range(19):
            shapes |= {f"fc_mu{label}.weight": (512, 512), f"fc_mu{label}.bias": (512,)}
    for name, widths in layers.items():
        shapes |= {f"{name}.weight": (*widths, 3, 3), f"{name}.bias": widths[:1]}
    return shapes


def generator_shapes(ngf, labels, *, most):
    """The state list of the official generator."""
    widths = {"head_0": (16, 16), "G_middle_0": (16, 16), "G_middle_1": (16, 16)}
    widths |= {"up_0": (16, 8), "up_1": (8, 4), "up_2": (4, 2), "up_3": (2, 1)}
    sizes = {name: (a * ngf, b * ngf) for name, (a, b) in widths.items()}
    sizes |= {"up_4": (ngf, ngf // 2)} if most else {}
    last = ngf // 2 if most else ngf
    shapes = {"fc.weight": (16 * ngf, labels, 3, 3), "fc.bias": (16 * ngf,)}
    shapes |= {"conv_img.weight": (3, last, 3, 3), "conv_img.bias": (3,)}
    for number, (out, into) in {1: (32, 3), 4: (64, 32), 7: (128, 64), 10: (128, 256), 14: (512, 256)}.items():
        shapes |= {f"Zencoder.model.{number}.weight": (out, into, 3, 3)}
        shapes |= {f"Zencoder.model.{number}.bias": (256 if number == 10 else out,)}
    for name, (a, b) in sizes.items():
        convolutions = {"conv_0": (min(a, b), a, 3), "conv_1": (b, min(a, b), 3)}
        norms = {"ace_0": a, "ace_1": min(a, b)}
        if a != b:
            convolutions["conv_s"], norms["ace_s"] = (b, a, 1), a
        for key, (out, into, kernel) in convolutions.items():
            stem = f"{name}.{key}"
            shapes |= {f"{stem}.weight_orig": (out, into, kernel, kernel), f"{stem}.weight_u": (out,)}
            shapes |= {f"{stem}.weight_v": (into * kernel**2,)}
            shapes |= {f"{stem}.bias": (out,)} if kernel == 3 else {}
        for key, channels in norms.items():
            inner = norm_shapes(channels, labels, styled=name != "up_3")
            shapes |= {f"{name}.{key}.{tensor}": shape for tensor, shape in inner.items()}
    return shapes


@pytest.mark.parametrize(
    ("ngf", "labels", "size", "upsampling"), [(4, 7, 32, "normal"), (6, 19, 128, "more"), (8, 11, 256, "most")]
)
def test_tensors_of_other_sizes_are_those_of_the_official_classes(ngf, labels, size, upsampling):
    with torch.device("meta"):
        network = Generator(ngf, labels, size, num_upsampling_layers=upsampling)
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert own == generator_shapes(ngf, labels, most=upsampling == "most")


def small(**changes):
    torch.manual_seed(0)
    options = {"style_length": LENGTH, "style_layers": LABELS, "encoder_width": 2, "hidden": 3}
    network = Generator(2, LABELS, **({"crop_size": 32} | options | changes)).eval()
    initialise(network)
    for module in network.modules():
        if isinstance(module, RegionAdaptiveNorm):
            torch.nn.init.constant_(module.noise_var, 0.5)
    return network


@torch.no_grad()
@pytest.mark.parametrize(
    ("changes", "side", "features"),
    [
        ({}, (32, 32), [1, 2, 4, 8, 16, 32]),
        ({"crop_size": 64, "num_upsampling_layers": "more"}, (64, 64), [1, 2, 4, 8, 16, 32, 64]),
        ({"crop_size": 64, "aspect_ratio": 2.0}, (32, 64), [2, 4, 8, 16, 32, 64]),
    ],
)
def test_sizes(changes, side, features):
    network = small(**changes)
    maps = one_hot(torch.zeros(2, *side), LABELS)
    image, found = network.with_features(maps, network.Zencoder(torch.randn(2, 3, *side), maps))
    assert image.shape == (2, 3, *side)
    assert list(found) == features
    assert [f.shape[1] for f in found.values()][-4:] == [16, 8, 4, 2]


@torch.no_grad()
def test_noise_is_all_that_is_random():
    network = small()
    maps, codes = one_hot(torch.zeros(1, 32, 32), LABELS), torch.randn(1, LABELS, LENGTH)
    values = torch.randn(1, network.noise_dim)
    image = network(maps, codes, noise=network.noise_from(values))
    assert torch.equal(image, network(maps, codes, noise=network.noise_from(values)))
    assert not torch.equal(image, network(maps, codes, noise=network.noise_from(-values)))
    assert not torch.equal(network(maps, codes), network(maps, codes))
    noise = network.noise_from(values)
    assert torch.equal(torch.cat([part.flatten() for part in noise.values()]), values[0])
    # The order in which the official code draws: the shortcut of a block first.
    assert list(noise)[-3:] == ["up_3_ACE_s", "up_3_ACE_0", "up_3_ACE_1"]
    assert noise["up_3_ACE_0"].shape == (1, 32, 32, 1)


@torch.no_grad()
@pytest.mark.parametrize(("place", "size"), [("fc", 1), ("head_0", 1), ("fc", 2), ("head_0", 8)])
def test_the_teachers_first_feature_is_summed_with_the_one_that_is_returned(place, size):
    network = small(first_feature=place)
    maps, codes = one_hot(torch.zeros(1, 32, 32), LABELS), torch.randn(1, LABELS, LENGTH)
    noise = network.noise_from(torch.zeros(1, network.noise_dim))
    image, plain = network.with_features(maps, codes, noise=noise)
    first = torch.randn_like(plain[size])
    changed, summed = network.with_features(maps, codes, first=first, noise=noise)
    torch.testing.assert_close(summed[size], plain[size] + first)
    below = [r for r in plain if r < size]
    assert all(torch.equal(summed[r], plain[r]) for r in below)
    assert not torch.equal(changed, image)
    untouched, _ = network.with_features(maps, codes, first=torch.zeros_like(first), noise=noise)
    assert torch.equal(untouched, image)
    if (place, size) == ("fc", 1):
        own = network.fc(F.interpolate(maps, size=(1, 1)))
        torch.testing.assert_close(plain[1], own)


def test_a_first_feature_that_does_not_fit_is_one_sentence():
    network, codes = small(), torch.zeros(1, LABELS, LENGTH)
    maps = one_hot(torch.zeros(1, 32, 32), LABELS)
    with pytest.raises(UserError, match="7 channels, the generator's 8: project it first"):
        network(maps, codes, first=torch.zeros(1, 7, 8, 8))
    with pytest.raises(UserError, match="has 64 px, and the generator has features at 1, 2, 4, 8, 16, 32 px only"):
        network(maps, codes, first=torch.zeros(1, 2, 64, 64))


def test_initialisation():
    torch.manual_seed(0)
    network = Generator(8, 5, 32, style_length=32, style_layers=5, encoder_width=8)
    initialise(network)
    convolution, linear = network.up_0.conv_0, network.up_0.ace_0.fc_mu2
    expected = 0.02 * (2 / (9 * (128 + 64))) ** 0.5
    assert convolution.weight_orig.std().item() == pytest.approx(expected, rel=0.02)
    assert linear.weight.std().item() == pytest.approx(0.02 * (2 / 64) ** 0.5, rel=0.1)
    assert not any(tensor.any() for name, tensor in network.named_parameters() if name.endswith("bias"))
    assert not network.up_0.ace_0.noise_var.any() and not network.up_0.ace_0.blending_gamma.any()


@torch.no_grad()
def test_the_discriminator_judges_each_scale_with_strides_of_two():
    torch.manual_seed(0)
    discriminator = Discriminator(4, 2, num_D=3, n_layers_D=4).eval()
    x = torch.randn(2, 7, 64, 64)
    judged = discriminator(x)
    assert [tuple(layer.shape[1:]) for layer in judged[0]] == [
        (2, 33, 33), (4, 17, 17), (8, 9, 9), (16, 5, 5), (1, 6, 6)
    ]  # fmt: skip
    # The second scale sees the average of the pixels that there are.
    pooled_once = F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2) * 9
    pooled_once = pooled_once / (F.avg_pool2d(F.pad(torch.ones_like(x), (1, 1, 1, 1)), 3, 2) * 9)
    torch.testing.assert_close(judged[1][0], discriminator.discriminator_1.model0(pooled_once))
    kinds = Counter(type(module).__name__ for module in discriminator.modules())
    assert kinds["SpectralConv2d"] == kinds["InstanceNorm2d"] == 9


def test_pairs_are_judged_in_one_batch():
    torch.manual_seed(0)
    discriminator = Discriminator(2, 2).eval()
    maps, fake, real = torch.rand(2, 2, 32, 32), torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    judged = discriminator.judge_pair(maps, fake, real)
    for half, images in zip(judged, (fake, real), strict=True):
        alone = discriminator(torch.cat([maps, images], 1))
        torch.testing.assert_close(half, alone)
