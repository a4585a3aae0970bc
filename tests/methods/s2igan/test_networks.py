"""The generator's sizes, its hooks for stage 1, its start, and the discriminators below and above 64 px."""

import pytest
import torch
from pydantic import ValidationError

from kdx2i.errors import UserError
from kdx2i.methods.s2igan.discriminators import Discriminator
from kdx2i.methods.s2igan.networks import Generator, initialise
from kdx2i.methods.s2igan.settings import Networks, Settings

SIZES = Networks(gf_dim=4, df_dim=3, condition_dim=3, noise_dim=5, speech_dim=8)


def inputs(batch=2):
    return torch.randn(batch, 5), torch.randn(batch, 8), torch.randn(batch, 3)


@pytest.mark.parametrize(
    ("resolution", "stages", "channels"),
    [
        (32, 3, {8: 4, 16: 2, 32: 1}),
        (32, 2, {8: 8, 16: 4, 32: 2}),
        (64, 1, {8: 32, 16: 16, 32: 8, 64: 4}),
        (64, 3, {8: 8, 16: 4, 32: 2, 64: 1}),
    ],
)
def test_images_and_features_of_each_size(resolution, stages, channels):
    generator = Generator(SIZES.model_copy(update={"stages": stages}), resolution).eval()
    made = generator(*inputs())
    assert [image.shape[-1] for image in made.images] == [resolution >> stage for stage in reversed(range(stages))]
    assert {r: feature.shape[1] for r, feature in made.features.items()} == channels
    assert all(feature.shape[2:] == (r, r) for r, feature in made.features.items())
    assert all(bool((image.abs() <= 1).all()) for image in made.images)


def test_the_teachers_first_feature_is_summed_where_its_size_is_reached():
    generator = Generator(SIZES, 32).eval()
    given = inputs()
    plain, zero = generator(*given), generator(*given, torch.zeros(2, 4, 8, 8))
    assert all(torch.equal(a, b) for a, b in zip(plain.images, zero.images, strict=True))
    first = torch.randn(2, 2, 16, 16)
    moved = generator(*given, first)
    assert torch.equal(moved.features[8], plain.features[8])
    assert torch.equal(moved.features[16], plain.features[16] + first)
    assert torch.equal(moved.images[0], plain.images[0]) and not torch.equal(moved.images[1], plain.images[1])
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\) is no \(2, 4, 8, 8\)"):
        generator(*given, torch.randn(2, 3, 8, 8))
    with pytest.raises(ValueError, match="no feature of 4 px"):
        generator(*given, torch.randn(2, 4, 4, 4))


def test_the_condition_is_the_mean_plus_scaled_noise():
    generator = Generator(SIZES, 32).eval()
    noise, speech, eps = inputs()
    made = generator(noise, speech, eps)
    torch.testing.assert_close(made.condition, made.mu + eps * (made.logvar / 2).exp())
    gates = generator.ca_net.fc(speech)
    codes = gates[:, :6] * torch.sigmoid(gates[:, 6:])
    torch.testing.assert_close(torch.cat([made.mu, made.logvar], 1), codes)
    torch.testing.assert_close(generator(noise, speech, torch.zeros(2, 3)).condition, made.mu)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128])
def test_a_discriminator_of_each_size_judges_images_by_their_condition(resolution):
    discriminator = Discriminator(resolution, 2, 3).eval()
    images = torch.rand(2, 3, resolution, resolution) * 2 - 1
    conditional, whole = discriminator(images, torch.zeros(2, 3))
    other, same = discriminator(images, torch.ones(2, 3))
    assert conditional.shape == whole.shape == (2,)
    assert torch.equal(whole, same) and not torch.equal(conditional, other)


def test_the_start_is_orthogonal():
    torch.manual_seed(0)
    discriminator = Discriminator(32, 4, 3)
    initialise(discriminator)
    weight = discriminator.jointConv[0].weight.flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), atol=1e-5, rtol=0)
    scales = torch.cat([m.weight for m in discriminator.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    assert abs(float(scales.mean()) - 1) < 0.02 and 0.01 < float(scales.std()) < 0.03
    generator = Generator(SIZES, 32)
    initialise(generator)
    assert not generator.ca_net.fc.bias.any()


@pytest.mark.parametrize(("resolution", "stages"), [(16, 3), (48, 3), (4, 1), (0, 1)])
def test_other_resolutions_are_refused_in_one_sentence(resolution, stages):
    with pytest.raises(UserError, match=f"not of {resolution} px"):
        Generator(SIZES.model_copy(update={"stages": stages}), resolution)


def test_channels_that_cannot_be_halved_are_refused():
    assert Generator(SIZES.model_copy(update={"gf_dim": 6}), 32).img_net3.img[0].weight.shape[1] == 1
    with pytest.raises(UserError, match=r"gf_dim \(3\) cannot be halved"):
        Generator(SIZES.model_copy(update={"gf_dim": 3}), 32)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("networks", {"gf_dim": 0}),
        ("networks", {"stages": 4}),
        ("networks", {"width": 8}),
        ("train", {"batch": 1}),
        ("train", {"wrong_images": "never"}),
        ("train", {"enlarge": 0.9}),
    ],
)
def test_bad_settings_are_refused(part, values):
    with pytest.raises(ValidationError):
        Settings.model_validate({part: values})


def test_defaults_are_the_official_ones():
    settings = Settings()
    n, t = settings.networks, settings.train
    assert (n.gf_dim, n.df_dim, n.condition_dim, n.noise_dim, n.speech_dim, n.stages) == (64, 64, 128, 100, 1024, 3)
    assert (t.batch, t.learning_rate, t.beta1, t.beta2, t.ema_decay) == (24, 2e-4, 0.5, 0.999, 0.999)
    assert (t.lambda_unconditional, t.lambda_relation, t.lambda_kl) == (1, 1, 2)
    assert t.iterations == 600 * (7034 // 24) and t.average_takes_over_every == 50 * (7034 // 24)
