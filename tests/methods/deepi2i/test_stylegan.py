"""DeepI2I on StyleGAN backbones: objectives, start from a teacher, phases, and that it learns one small batch."""

import pytest
import torch

from kdx2i.config import validate
from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.deepi2i.method import build
from kdx2i.methods.deepi2i.settings import OnBigGAN, Settings, Train
from kdx2i.methods.deepi2i.stylegan import StyleGANMethod
from kdx2i.methods.families.stylegan import losses
from kdx2i.methods.families.stylegan.direction import mixed_styles
from kdx2i.methods.families.stylegan.settings import StyleGANNetworks, StyleGANSettings, StyleGANTrain
from kdx2i.teacher.stylegan1 import Discriminator, Generator
from kdx2i.teacher.stylegan2.weights import save_teacher
from kdx2i.training.loop import LoopSettings, train, update_averages
from kdx2i.training.sampling import BalancedImages
from tests.support import tiny

SIZE, CLASSES = 16, 2
SIZES = {"z_dim": 6, "w_dim": 6, "mapping_layers": 2, "channel_base": 64, "channel_max": 8, "max_resolution": 16}


def method(**changes):
    backbone = changes.pop("backbone", "stylegan2")
    weights = changes.pop("addition_weights", {4: 1.0, 8: 1.0})
    noise = changes.pop("noise", "random")
    pictures = tiny.pictures(6, SIZE)
    sampler = BalancedImages(lambda index: pictures[index], torch.arange(6) % CLASSES, CLASSES, tiny.CPU)
    settings = StyleGANSettings(
        networks={"backbone": backbone, "addition_weights": weights, "noise": noise, **SIZES},
        train={
            "batch": 4,
            "iterations": 8,
            "adaptor_iterations": 2,
            "feature_weights": {4: 0.1, 8: 0.1},
            "adversarial": "r1",
            **changes,
        },
    )
    torch.manual_seed(1)
    return StyleGANMethod(MethodSetup(settings, SIZE, CLASSES, tiny.CPU, sampler))


def teacher_file(tmp_path, resolution=SIZE, **changes):
    teacher = tiny.teacher(resolution, **changes)
    path = tmp_path / "teacher.safetensors"
    save_teacher(path, teacher.generator, teacher.discriminator, {})
    return path, teacher


def step(subject, number):
    torch.manual_seed(number)
    scalars = subject.training_step(number)
    update_averages(subject, subject.ema_decay(number))
    return scalars


def logits(x):
    """Stand-in: 3 times the first pixel of each image."""
    return 3 * x[:, 0, 0, 0]


def test_wasserstein_loss_counts_gradient_and_drift():
    real, fake = torch.full((2, 1, 1, 1), 2.0), torch.full((2, 1, 1, 1), 1.0)
    # Critic 3 - 6, drift 0.1 * 36, the gradient's length is 3 wherever it is taken: 10 (3 - 1)^2.
    results = losses.wasserstein_discriminator_loss(logits, real, fake, gradient_weight=10, drift=0.1)
    assert results.item() == pytest.approx(-3 + 3.6 + 40)


def test_logistic_loss_counts_r1_by_half():
    real, fake = torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    results = losses.logistic_discriminator_loss(logits, real, fake, gradient_weight=2)
    assert results.item() == pytest.approx(2 * torch.log(torch.tensor(2.0)).item() + 9)


def test_feature_loss_pairs_each_source_with_its_own_translation():
    source = {4: torch.tensor([[0.0], [1.0]]), 8: torch.zeros(2, 1)}
    made = {4: torch.tensor([[2.0], [1.0]]), 8: torch.ones(2, 1), 16: torch.ones(2, 1)}
    assert losses.feature_loss(source, made, {4: 0.5, 8: 0.1, 16: 0.0}).item() == pytest.approx(0.5 * 2 + 0.1)
    assert losses.feature_loss(source, made, {16: 0.0}).item() == 0


def test_style_mixing_cuts_once_between_two_layers():
    direction = method().directions[0]
    z, z2 = torch.randn(2, 6), torch.randn(2, 6)
    torch.manual_seed(3)
    assert torch.equal(mixed_styles(direction, z, z2, 0.0)[:, -1], direction.style(z))
    for seed in range(5):
        torch.manual_seed(seed)
        ws = mixed_styles(direction, z, z2, 1.0)
        assert ws.shape == (2, direction.generator.num_ws, 6)
        assert torch.equal(ws[:, 0], direction.style(z)) and torch.equal(ws[:, -1], direction.style(z2))


def test_every_direction_starts_at_the_teacher(tmp_path):
    path, teacher = teacher_file(tmp_path)
    subject = method()
    before = tiny.state_of({"adaptor": subject.networks["adaptor_0"]})
    subject.start_from_teacher(path)
    assert tiny.changed(before, tiny.state_of({"adaptor": subject.networks["adaptor_0"]})) == set()
    z, x = torch.randn(3, 6), torch.randn(3, 3, SIZE, SIZE)
    for direction in (*subject.directions, *subject.averaged):
        torch.manual_seed(0)
        image, _ = direction.generate(direction.style(z))
        torch.manual_seed(0)
        torch.testing.assert_close(image, teacher.generator(z))
        torch.testing.assert_close(direction.examine(x)[0], teacher.discriminator(x)[:, 0])
        torch.testing.assert_close(direction.encode(x)[8], teacher.discriminator.features(x)[8])
        torch.testing.assert_close(direction.style_of(x), teacher.generator.mapping.w_avg.expand(3, -1))


@pytest.mark.parametrize("change", [{"channel_max": 4}, {"num_layers": 3}, {"w_dim": 8}])
def test_a_teacher_of_other_sizes_is_one_sentence(tmp_path, change):
    path, _ = teacher_file(tmp_path, **change)
    with pytest.raises(UserError, match=r"teacher\.safetensors does not fit the settings of `networks`: it has"):
        method().start_from_teacher(path)


def test_it_starts_from_an_official_stylegan1_checkpoint(tmp_path):
    subject = method(backbone="stylegan1")
    torch.manual_seed(7)
    config = subject.backbone.stylegan1_config
    official = Generator(config), Discriminator(config)
    states = {"generator": official[0].state_dict(), "discriminator": official[1].state_dict()}
    torch.save(states, tmp_path / "official.model")
    subject.start_from_teacher(tmp_path / "official.model")
    z = torch.randn(2, 6)
    torch.manual_seed(0)
    expected = official[0](z)
    torch.manual_seed(0)
    direction = subject.directions[1]
    torch.testing.assert_close(direction.generate(direction.style(z))[0], expected)


@pytest.mark.parametrize("backbone", ["stylegan1", "stylegan2"])
def test_the_generator_waits_for_the_adaptor(backbone):
    subject = method(backbone=backbone)
    before = tiny.state_of(subject.networks)
    step(subject, 0)
    early = {name.split("_")[0] for name in tiny.changed(before, tiny.state_of(subject.networks))}
    assert early == {"adaptor", "discriminator", "style"}
    step(subject, 2)
    late = {name.split(".")[0] for name in tiny.changed(before, tiny.state_of(subject.networks))}
    assert late == {f"{n}_{c}" for n in ("adaptor", "discriminator", "generator", "style_encoder") for c in (0, 1)}


def test_it_learns_to_keep_the_discriminator_s_features():
    subject = method(adaptor_iterations=0, feature_weights={4: 5.0, 8: 5.0}, learning_rate=5e-3)
    results = [step(subject, number)["features_0"].item() for number in range(40)]
    assert sum(results[-5:]) < 0.7 * sum(results[:5])


def test_the_style_encoder_learns_the_styles_of_translations():
    subject = method(adaptor_iterations=0, learning_rate=5e-3, mixing_probability=0.0)
    results = [step(subject, number)["style_1"].item() for number in range(60)]
    assert sum(results[-5:]) < 0.8 * sum(results[:5])


def test_translation_uses_the_model_of_the_target_class():
    subject = method(adaptor_iterations=0, noise="none")
    step(subject, 0)
    x = torch.rand(4, 3, SIZE, SIZE) * 2 - 1
    y = torch.tensor([1, 0, 1, 0])
    joint = tiny.translated(subject, x, y, "reference", x.flip(0))
    assert joint.abs().max() <= 1
    one = tiny.translated(subject, x[1::2], y[1::2], "reference", x.flip(0)[1::2])
    torch.testing.assert_close(joint[1::2], one)
    torch.manual_seed(0)
    first = tiny.translated(subject, x, y, "latent")
    torch.manual_seed(0)
    assert torch.equal(first, tiny.translated(subject, x, y, "latent"))
    assert not torch.equal(first, tiny.translated(subject, x, y, "latent"))
    with pytest.raises(ValueError, match="reference"):
        tiny.translated(subject, x, y, "reference")


def test_unknown_resolutions_of_features_are_one_sentence():
    with pytest.raises(UserError, match=r"addition_weights names 16 px: the encoder has features at \[4, 8\] px"):
        method(addition_weights={4: 0.1, 16: 0.1})


def test_the_phases_must_leave_iterations_for_the_generator():
    with pytest.raises(ValueError, match=r"`iterations` \(5\) must be more than the 5 that come before"):
        StyleGANTrain(iterations=5, adaptor_iterations=5)
    assert StyleGANNetworks().backbone == "stylegan1"


def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path):
    settings = LoopSettings(4, 3, checkpoint_every=1, sample_every=10, log_every=1)
    train(method(iterations=4), settings, tmp_path / "whole", "x")
    for count in (1, 3, 4):
        train(method(iterations=4), LoopSettings(count, 3, 1, 10, 1), tmp_path / "parts", "x")
    assert tiny.outcome(tmp_path / "parts") == tiny.outcome(tmp_path / "whole")


def test_the_settings_follow_the_backbone():
    official = Settings.model_validate({"networks": {"backbone": "stylegan1"}, "train": {"batch": 4}})
    assert official.on_stylegan and official.narrowed(StyleGANSettings).train == official.train
    assert (official.train.adversarial, official.train.batch) == ("wgan-gp", 4)
    again = Settings.model_validate(official.model_dump(mode="json"))
    assert again == official
    assert Settings(networks={"backbone": "stylegan2"}).train.learning_rate == 1e-3
    assert not Settings().on_stylegan and isinstance(Settings().narrowed(OnBigGAN).train, Train)
    with pytest.raises(ValueError, match="needs a StyleGAN backbone"):
        Settings(train={"adversarial": "r1"})
    with pytest.raises(UserError, match=r"x: the key `networks\.width` is unknown; the keys here are addition_w"):
        validate(Settings, {"networks": {"backbone": "stylegan1", "width": 8}}, "x")


def test_the_backbone_is_a_setting():
    networks = {"backbone": "stylegan2", "addition_weights": {4: 0.1}, **SIZES}
    assert isinstance(build(MethodSetup(Settings(networks=networks), SIZE, CLASSES, tiny.CPU)), StyleGANMethod)
