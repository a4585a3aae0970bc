"""StarGAN v2's networks: what the parity fixtures do not show."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from kdx2i.methods.families.stargan.blocks import (
    AdaIN,
    AdainResBlk,
    DomainHeads,
    ResBlk,
    conv_pool,
    enlarge_conv,
    he_init,
)
from kdx2i.methods.stargan_v2.networks import (
    Discriminator,
    Generator,
    MappingNetwork,
    StyleEncoder,
    replicate_domains,
)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 2)])
def test_folded_convolutions_equal_their_definition(size):
    conv = nn.Conv2d(3, 5, 3, padding=1).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(conv_pool(x, conv), F.avg_pool2d(conv(x), 2))
    torch.testing.assert_close(enlarge_conv(x, conv), conv(F.interpolate(x, scale_factor=2, mode="nearest")))


@pytest.mark.parametrize("folded", [conv_pool, enlarge_conv])
def test_folded_convolutions_differentiate_twice(folded):
    conv = nn.Conv2d(1, 2, 3, padding=1).double()
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: folded(x, with_weight(conv, w)), (x, conv.weight))
    assert torch.autograd.gradgradcheck(lambda x, w: folded(x, with_weight(conv, w)), (x, conv.weight))


def with_weight(conv, weight):
    other = copy.copy(conv)
    other._parameters = dict(conv._parameters, weight=weight)
    return other


def test_folding_after_inference_mode_can_be_trained():
    conv = nn.Conv2d(2, 2, 3, padding=1).half().float()
    with torch.inference_mode():
        conv_pool(torch.randn(1, 2, 4, 4), conv)
    conv_pool(torch.randn(1, 2, 4, 4), conv).sum().backward()
    assert conv.weight.grad is not None


def test_adain_is_the_published_formula():
    layer = AdaIN(4, 3)
    x, s = torch.randn(2, 3, 5, 5), torch.randn(2, 4)
    gamma, beta = layer.fc(s)[:, :, None, None].chunk(2, dim=1)
    torch.testing.assert_close(layer(x, s), (1 + gamma) * F.instance_norm(x) + beta)
    with pytest.raises(ValueError, match="more than one pixel"):
        layer(torch.randn(2, 3, 1, 1), s)


def naive_resblk(block, x):
    short = x if block.conv1x1 is None else block.conv1x1(x)
    y = F.leaky_relu(block.norm1(x) if block.normalize else x, 0.2)
    y = block.conv1(y)
    if block.downsample:
        short, y = F.avg_pool2d(short, 2), F.avg_pool2d(y, 2)
    y = block.conv2(F.leaky_relu(block.norm2(y) if block.normalize else y, 0.2))
    return (y + short) / 2**0.5


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("downsample", [False, True])
def test_resblk_and_its_gradients_equal_the_plain_order(normalize, downsample):
    block = ResBlk(3, 4, normalize=normalize, downsample=downsample).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    own, plain = block(x), naive_resblk(block, x)
    torch.testing.assert_close(own, plain)
    inputs = [x, *block.parameters()]
    for a, b in zip(
        torch.autograd.grad(own.square().sum(), inputs),
        torch.autograd.grad(plain.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_decoder_block_equals_the_plain_order():
    block = AdainResBlk(4, 3, 5, upsample=True).double()
    x, s = torch.randn(2, 4, 4, 4).double(), torch.randn(2, 5).double()
    y = F.interpolate(F.leaky_relu(block.norm1(x, s), 0.2), scale_factor=2, mode="nearest")
    y = block.conv2(F.leaky_relu(block.norm2(block.conv1(y), s), 0.2))
    short = block.conv1x1(F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(block(x, s), (y + short) / 2**0.5)


def reference_heads(heads, x, y):
    """Every sample alone, with its own domain's layers."""
    rows = []
    for row, domain in zip(x, y.tolist(), strict=True):
        for k in range(heads.depth):
            weight, bias = heads.layer(k)
            row = F.linear(F.relu(row) if k else row, weight[domain], bias[domain])
        rows.append(row)
    return torch.stack(rows)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(0, 5), min_size=1, max_size=14))
def test_heads_give_each_sample_its_own_domain(domains, labels):
    heads = DomainHeads(domains, [3, 4, 2], nested=True).double()
    y = torch.tensor(labels) % domains
    x = torch.randn(len(labels), 3, dtype=torch.float64, requires_grad=True)
    own, expected = heads(x, y), reference_heads(heads, x, y)
    torch.testing.assert_close(own, expected)
    inputs = [x, *heads.parameters()]
    for a, b in zip(torch.autograd.grad(own.sum(), inputs), torch.autograd.grad(expected.sum(), inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_of_other_domains_are_zeros_not_missing():
    network = MappingNetwork(4, 5, 3, hidden_dim=6)
    network(torch.randn(2, 4), torch.tensor([2, 2])).sum().backward()
    gradient = network.unshared.weight0.grad
    assert gradient is not None
    assert float(gradient[:2].abs().sum()) == 0.0
    assert float(gradient[2].abs().sum()) > 0.0


@pytest.mark.parametrize("nested", [True, False])
def test_heads_keep_the_official_keys(tmp_path, nested):
    heads = DomainHeads(3, [4, 5, 2] if nested else [4, 2], nested=nested)
    state = heads.state_dict()
    first = "0.0.weight" if nested else "0.weight"
    assert next(iter(state)) == first
    assert len(state) == 3 * 2 * heads.depth
    save_file(state, tmp_path / "heads.safetensors")
    other = DomainHeads(3, [4, 5, 2] if nested else [4, 2], nested=nested)
    other.load_state_dict(load_file(tmp_path / "heads.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(heads.parameters(), other.parameters(), strict=True))
    with torch.device("meta"):
        third = DomainHeads(3, [4, 5, 2] if nested else [4, 2], nested=nested)
    third.load_state_dict(state, assign=True)
    assert torch.equal(third.weight0, heads.weight0)
    assert copy.deepcopy(heads).state_dict().keys() == state.keys()


def test_misfitting_heads_are_reported():
    network = StyleEncoder(8, 3, 2, 16, dim_in=4)
    state = network.state_dict()
    for change, words in (
        ({"unshared.2.weight": torch.zeros(3, 8)}, "Unexpected"),
        ({"unshared.1.bias": torch.zeros(4)}, "size mismatch for unshared.1.bias"),
    ):
        with pytest.raises(RuntimeError, match=words):
            network.load_state_dict({**state, **change})
    del state["unshared.0.weight"]
    with pytest.raises(RuntimeError, match=r"Missing.*unshared\.0\.weight"):
        network.load_state_dict(state)


def test_features_are_indexed_by_resolution():
    torch.manual_seed(0)
    generator = Generator(64, 5, 16, dim_in=4)
    x, s = torch.randn(1, 3, 64, 64), torch.randn(1, 5)
    h, encoded = generator.encode_features(x)
    image, decoded = generator.decode_features(h, s)
    assert {r: f.shape[1] for r, f in encoded.items()} == {64: 4, 32: 8, 16: 16}
    assert {r: f.shape[1] for r, f in decoded.items()} == {16: 16, 32: 8, 64: 4}
    assert torch.equal(encoded[16], h)
    assert torch.equal(image, generator(x, s))
    assert torch.equal(image, generator.render(generator.content(x), s))
    style = StyleEncoder(64, 5, 1, 16, dim_in=4)
    assert {r: f.shape[1] for r, f in style.features(x).items()} == {64: 4, 32: 8, 16: 16, 8: 16, 4: 16}


def test_hint_block_chooses_between_the_blocks_of_the_bottleneck():
    torch.manual_seed(0)
    last = Generator(32, 5, 16, dim_in=4, num_down=2)
    first = Generator(32, 5, 16, dim_in=4, num_down=2, hint_block="first")
    first.load_state_dict(last.state_dict())
    x, s = torch.randn(1, 3, 32, 32), torch.randn(1, 5)
    blocks = last.encode_blocks(x)
    assert torch.equal(last.encode_features(x)[1][8], blocks[-1])
    assert torch.equal(first.encode_features(x)[1][8], blocks[-3])
    h = blocks[-1]
    outputs = last.decode_blocks(h, s)[1]
    assert torch.equal(last.decode_features(h, s)[1][8], outputs[1])
    assert torch.equal(first.decode_features(h, s)[1][8], outputs[0])


@pytest.mark.parametrize(("img_size", "w_hpf", "expected"), [(64, 0, 2), (256, 0, 4), (256, 1, 5), (16, 0, 0)])
def test_depth_follows_the_image_size(img_size, w_hpf, expected):
    with torch.device("meta"):
        generator = Generator(img_size, 8, 32, w_hpf)
    assert generator.num_down == expected
    assert generator.from_rgb.weight.shape[0] == 2**14 // img_size


def test_masks_need_the_high_pass_variant():
    generator = Generator(16, 5, 8, dim_in=4)
    x = torch.randn(1, 3, 16, 16)
    masks = (torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="w_hpf"):
        generator(x, torch.randn(1, 5), masks=masks)


def test_he_init_has_the_published_scale():
    networks = [
        Generator(32, 8, 64, dim_in=32),
        MappingNetwork(16, 8, 3, hidden_dim=64),
        Discriminator(16, 3, 64, dim_in=32),
    ]
    for network in networks:
        he_init(network, torch.Generator().manual_seed(0))
        for name, tensor in network.state_dict().items():
            if name.endswith("bias") and "norm" not in name and not name.startswith("to_rgb.0"):
                assert float(tensor.abs().sum()) == 0.0, name
            elif tensor.ndim >= 2 and tensor.numel() > 2000:
                fan_in = tensor[0].numel()
                assert float(tensor.std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.1), name


def test_one_domain_is_copied_to_every_class():
    x, z = torch.randn(4, 3, 16, 16), torch.randn(4, 6)
    zeros, y = torch.zeros(4, dtype=torch.long), torch.tensor([0, 1, 2, 1])
    pairs = [
        (MappingNetwork(6, 5, 1, hidden_dim=8), MappingNetwork(6, 5, 3, hidden_dim=8), z),
        (StyleEncoder(16, 5, 1, 16, dim_in=4), StyleEncoder(16, 5, 3, 16, dim_in=4), x),
        (Discriminator(16, 1, 16, dim_in=4), Discriminator(16, 3, 16, dim_in=4), x),
    ]
    for one, many, inputs in pairs:
        many.load_state_dict(replicate_domains(one.state_dict(), 3))
        torch.testing.assert_close(many(inputs, y), one(inputs, zeros))
        with pytest.raises(ValueError, match="one domain"):
            replicate_domains(many.state_dict(), 3)


@pytest.mark.parametrize("network", [StyleEncoder(8, 3, 555, 8, dim_in=4), MappingNetwork(4, 3, 555, hidden_dim=8)])
def test_many_domains_run_only_the_requested_heads(network, monkeypatch):
    sizes = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: sizes.append(a.shape[0]) or bmm(a, b))
    inputs = torch.randn(2, 3, 8, 8) if isinstance(network, StyleEncoder) else torch.randn(2, 4)
    network(inputs, torch.tensor([3, 400]))
    assert set(sizes) == {2}
