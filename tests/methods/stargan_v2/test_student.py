"""StarGAN v2 as a student: one domain, and the features of Appendix A.4 by resolution."""

import pytest
import tiny
import torch

from kdx2i.methods.stargan_v2.networks import Generator, StyleEncoder
from kdx2i.methods.stargan_v2.settings import Networks


@pytest.fixture(scope="module")
def student():
    return tiny.student()


def images(batch=2):
    return torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_networks_are_the_four_official_ones_with_one_domain(student):
    assert list(student.networks) == ["generator", "mapping_network", "style_encoder", "discriminator"]
    for name in ("mapping_network", "style_encoder", "discriminator"):
        assert student.networks[name].num_domains == 1
    assert student.noise_dim == 4
    assert student.resolution == 8


def test_parts_make_up_the_official_forward_passes(student):
    x, z, zero = images(), torch.randn(2, 4), torch.zeros(2, dtype=torch.long)
    content, encoded = student.encode(x)
    style, styled = student.style_from_image(x)
    image, decoded = student.decode(content, style)
    networks = student.networks
    assert torch.equal(image, networks["generator"](x, style))
    assert torch.equal(style, networks["style_encoder"](x, zero))
    assert torch.equal(student.style_from_noise(z), networks["mapping_network"](z, zero))
    assert torch.equal(student.discriminate(x), networks["discriminator"](x, zero))
    assert {r: tuple(f.shape) for r, f in encoded.items()} == {8: (2, 4, 8, 8), 4: (2, 8, 4, 4)}
    assert {r: tuple(f.shape) for r, f in decoded.items()} == {4: (2, 8, 4, 4), 8: (2, 4, 8, 8)}
    assert {r: tuple(f.shape) for r, f in styled.items()} == {8: (2, 4, 8, 8), 4: (2, 8, 4, 4)}
    assert torch.equal(encoded[4], content)
    assert image.shape == (2, 3, 8, 8)
    assert student.discriminate(x).shape == (2,)


def test_which_block_of_the_bottleneck_is_aligned_is_a_setting():
    x = images()
    results = {block: tiny.student(hint_block=block).encode(x)[1][4] for block in ("first", "last")}
    generator = tiny.student().networks["generator"]
    first = generator.encode[0](generator.from_rgb(x))
    assert torch.equal(results["first"], first)
    assert torch.equal(results["last"], generator.encode[2](generator.encode[1](first)))


def test_features_of_the_paper_s_student_have_the_sizes_of_the_appendix():
    """A.4: 16 to 256 px for content encoder and generator, 4 to 256 px for the style encoder (on shapes alone)."""
    with torch.device("meta"):
        generator = Generator(256)
        style_encoder = StyleEncoder(256)
        x = torch.empty(1, 3, 256, 256)
        content, encoded = generator.encode_features(x)
        _, decoded = generator.decode_features(content, torch.empty(1, 64))
        styled = style_encoder.features(x)
    assert sorted(encoded) == sorted(decoded) == [16, 32, 64, 128, 256]
    assert sorted(styled) == [4, 8, 16, 32, 64, 128, 256]
    # The widths are those of a teacher with min(16384 / resolution, 512) channels: no hint layers.
    for features in (encoded, decoded, styled):
        assert all(f.shape[1] == min(16384 // r, 512) for r, f in features.items())


def test_start_follows_the_seed():
    a, b, c = tiny.student(1), tiny.student(1), tiny.student(2)
    assert not tiny.changed(tiny.state_of(a.networks), tiny.state_of(b.networks))
    assert tiny.changed(tiny.state_of(a.networks), tiny.state_of(c.networks))


def test_sizes_left_out_are_official():
    sizes = Networks()
    assert (sizes.style_dim, sizes.latent_dim, sizes.max_conv_dim, sizes.hidden_dim) == (64, 16, 512, 512)
    assert sizes.dim_in is None
    assert sizes.num_down is None


def test_student_on_other_networks_leaves_the_first_alone(student):
    other = tiny.student(7)
    borrowed = student.with_networks(other.networks)
    x = images()
    assert torch.equal(borrowed.encode(x)[0], other.encode(x)[0])
    assert torch.equal(borrowed.discriminate(x), other.discriminate(x))
    assert not torch.equal(student.encode(x)[0], other.encode(x)[0])
    assert (borrowed.noise_dim, borrowed.resolution) == (4, 8)
