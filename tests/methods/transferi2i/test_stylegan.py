"""TransferI2I between two classes on StyleGAN: its phases, what learns in each, and that each objective falls."""

from dataclasses import replace

import pytest
import torch

from kdx2i.config import validate
from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.stylegan import losses
from kdx2i.methods.settings import updates_after_first_phases
from kdx2i.methods.transferi2i.biggan import BigGANMethod
from kdx2i.methods.transferi2i.method import build
from kdx2i.methods.transferi2i.settings import OnStyleGAN, Settings, TwoClassTrain
from kdx2i.methods.transferi2i.stylegan import StyleGANMethod
from kdx2i.teacher.stylegan2.weights import save_teacher
from kdx2i.training.loop import LoopSettings, train, update_averages
from kdx2i.training.sampling import BalancedImages
from tests.support import tiny

SIZE = 16
SIZES = {"z_dim": 6, "w_dim": 6, "mapping_layers": 2, "channel_base": 64, "channel_max": 8, "max_resolution": 16}


def method(classes=2, backbone="stylegan2", **changes):
    pictures = tiny.pictures(6, SIZE)
    sampler = BalancedImages(lambda index: pictures[index], torch.arange(6) % classes, classes, tiny.CPU)
    settings = Settings(
        networks={"backbone": backbone, "addition_weights": {4: 1.0, 8: 1.0}, **SIZES},
        train={
            "batch": 4,
            "iterations": 8,
            "source_target_iterations": 2,
            "adaptor_iterations": 2,
            "feature_weights": {4: 0.1, 8: 0.1},
            "adversarial": "r1",
            "gradient_weight": 2.0,
            **changes,
        },
    )
    torch.manual_seed(1)
    return build(MethodSetup(settings, SIZE, classes, tiny.CPU, sampler))


def step(subject, number, seed=None):
    torch.manual_seed(number if seed is None else seed)
    scalars = subject.training_step(number)
    update_averages(subject, subject.ema_decay(number))
    return scalars


def trained_in(subject, number):
    before = tiny.state_of(subject.networks)
    step(subject, number)
    return {name.split(".")[0] for name in tiny.changed(before, tiny.state_of(subject.networks))}


def both(*names):
    return {f"{name}_{c}" for name in names for c in (0, 1)}


def equal(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The file of a random teacher."""
    teacher = tiny.teacher(SIZE)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_teacher(path, teacher.generator, teacher.discriminator, {})
    return path


@pytest.mark.parametrize("backbone", ["stylegan1", "stylegan2"])
def test_each_phase_trains_its_own_networks(backbone):
    subject = method(backbone=backbone)
    assert trained_in(subject, 0) == both("generator", "discriminator")
    # The second phase first takes the fine-tuned discriminators as encoders.
    assert trained_in(subject, 2) == both("encoder", "adaptor", "style_encoder")
    assert trained_in(subject, 3) == both("adaptor", "style_encoder")
    assert trained_in(subject, 4) == both("generator", "discriminator", "adaptor", "style_encoder")


def test_the_encoder_becomes_the_fine_tuned_discriminator_of_the_source(started):
    subject = method()
    subject.start_from_teacher(started)
    for number in range(2):
        step(subject, number)
    states = {name: network.state_dict() for name, network in subject.networks.items()}
    assert not equal(states["discriminator_0"], states["discriminator_1"])
    assert not equal(states["encoder_0"], states["discriminator_1"])
    step(subject, 2)
    for target in (0, 1):
        assert equal(states[f"encoder_{target}"], states[f"discriminator_{1 - target}"])
    kept = tiny.state_of({name: subject.networks[name] for name in ("encoder_0", "encoder_1")})
    for number in range(3, 6):
        step(subject, number)
    assert (
        tiny.changed(kept, tiny.state_of({name: subject.networks[name] for name in ("encoder_0", "encoder_1")}))
        == set()
    )


def test_the_style_encoder_starts_at_its_own_class_s_discriminator(started):
    subject = method(adaptor_iterations=0)
    subject.start_from_teacher(started)
    for number in range(2):
        step(subject, number)
    subject.adopt_discriminators()
    x = torch.randn(3, 3, SIZE, SIZE)
    for target in (0, 1):
        trunk = subject.networks[f"style_encoder_{target}"].trunk.state_dict()
        results = subject.networks[f"discriminator_{target}"].state_dict()
        assert all(torch.equal(tensor, results[key]) for key, tensor in trunk.items())
        style = subject.directions[target].style_of(x)
        torch.testing.assert_close(style, style[:1].expand_as(style))  # The head is still the mean style.


def test_self_initialisation_needs_no_data_and_approaches_the_generator_s_features(started):
    subject = method(iterations=60, source_target_iterations=0, adaptor_iterations=50, learning_rate=5e-3)
    subject.start_from_teacher(started)
    subject.setup = replace(subject.setup, images=None)
    results = [step(subject, number) for number in range(50)]
    for term in ("self_adaptor_0", "self_adaptor_1", "self_style_0", "self_style_1"):
        assert sum(s[term].item() for s in results[-5:]) < 0.85 * sum(s[term].item() for s in results[:5])


def test_fine_tuning_brings_a_class_s_gan_to_its_images(started):
    """On one picture a class, the GAN's images come nearer to the class's own picture."""
    pictures = torch.stack([torch.full((3, SIZE, SIZE), 20), torch.full((3, SIZE, SIZE), 235)]).to(torch.uint8)
    subject = method(iterations=200, source_target_iterations=150, learning_rate=5e-3)
    subject.start_from_teacher(started)
    images = BalancedImages(lambda index: pictures[index], torch.arange(2), 2, tiny.CPU)
    subject.setup = replace(subject.setup, images=images)
    for number in range(60):
        step(subject, number)
    torch.manual_seed(0)
    z = torch.randn(16, 6)
    means = [direction.generate(direction.style(z))[0].mean().item() for direction in subject.directions]
    assert means[0] < -0.3 and means[1] > 0.3


def test_translation_learns_to_keep_the_discriminator_s_features(started):
    phases = {"source_target_iterations": 0, "adaptor_iterations": 0}
    subject = method(iterations=60, **phases, feature_weights={4: 5.0, 8: 5.0}, learning_rate=5e-3)
    subject.start_from_teacher(started)
    results = [step(subject, number) for number in range(20)]
    assert sum(s["features_0"].item() for s in results[-5:]) < 0.7 * sum(s["features_0"].item() for s in results[:5])


@pytest.mark.parametrize("adversarial", ["r1", "wgan-gp"])
@pytest.mark.parametrize("side", ["d", "adv"])
def test_each_side_s_objective_falls_while_the_other_stands_still(side, adversarial):
    phases = {"source_target_iterations": 0, "adaptor_iterations": 0}
    subject = method(iterations=60, **phases, adversarial=adversarial, lambda_aux=0.5, learning_rate=3e-3)
    for name in both("generator", "adaptor") if side == "d" else both("discriminator"):
        for group in subject.optimizers[name].param_groups:
            group["lr"] = 0.0
    results = [step(subject, number, seed=0) for number in range(8)]  # The same images and noise each time.
    assert all(results[-1][f"{side}_{c}"] < results[0][f"{side}_{c}"] - 0.02 for c in (0, 1))
    assert all(torch.isfinite(value) for value in results[-1].values())


def test_auxiliary_fakes_count_in_both_losses():
    phases = {"source_target_iterations": 0, "adaptor_iterations": 0}
    assert {"aux_0", "aux_1"} <= step(method(**phases), 0).keys()
    assert not {"aux_0", "aux_1"} & step(method(**phases, lambda_aux=0.0), 0).keys()
    x = torch.ones(2, 1, 1, 1)

    def logits(x):
        return x[:, 0, 0, 0]

    plain = losses.logistic_discriminator_loss(logits, x, -x, gradient_weight=0)
    more = losses.logistic_discriminator_loss(logits, x, -x, gradient_weight=0, further=(2 * x, 0.5))
    assert (more - plain).item() == pytest.approx(0.5 * torch.nn.functional.softplus(torch.tensor(2.0)).item())
    plain, more = (
        losses.wasserstein_discriminator_loss(logits, x, -x, gradient_weight=0, drift=0, further=further)
        for further in (None, (3 * x, 0.5))
    )
    assert (more - plain).item() == pytest.approx(0.5 * (3 - 1))


def test_features_are_compared_by_l1_or_squared():
    source, made = {4: torch.zeros(1, 2)}, {4: torch.full((1, 2), 3.0)}
    assert losses.feature_loss(source, made, {4: 0.5}, 1).item() == pytest.approx(1.5)
    assert losses.feature_loss(source, made, {4: 0.5}).item() == pytest.approx(4.5)
    assert (method().feature_power, method(feature_power=2).feature_power) == (1, 2)


@pytest.mark.parametrize("mode", ["latent", "reference"])
def test_both_modes_translate_with_the_model_of_the_target(mode, started):
    subject = method()
    subject.start_from_teacher(started)
    for number in range(6):
        step(subject, number)
    x, y = torch.rand(4, 3, SIZE, SIZE) * 2 - 1, torch.tensor([1, 0, 1, 0])
    made = []
    for targets in (y, 1 - y):
        torch.manual_seed(0)
        made.append(tiny.translated(subject, x, targets, mode, x.flip(0)))
        assert made[-1].shape == x.shape and made[-1].abs().max() <= 1
    assert not torch.equal(*made)


def test_averages_follow_from_the_start_of_translation_on():
    subject = method(ema_decay=0.9)
    assert [subject.ema_decay(number) for number in (0, 3, 4)] == [0.0, 0.0, 0.9]
    for number in range(4):
        step(subject, number)
    for name, average in subject.averages.items():
        assert equal(average.state_dict(), subject.networks[name].state_dict())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a training leaves that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train(method(iterations=6), LoopSettings(6, 3, 1, 10, 1), folder, "x")
    return tiny.outcome(folder)


@pytest.mark.parametrize("stops", [(1, 3, 5), (2, 4)])
def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path, whole, stops):
    """In the middle of each phase, and at both of its borders."""
    for count in (*stops, 6):
        train(method(iterations=6), LoopSettings(count, 3, 1, 10, 1), tmp_path, "x")
    assert tiny.outcome(tmp_path) == whole


@pytest.mark.parametrize("classes", [1, 3])
def test_other_numbers_of_classes_are_refused(classes):
    with pytest.raises(
        UserError, match=rf"between 2 classes, and this dataset has {classes}: .* networks\.backbone biggan"
    ):
        method(classes=classes)


def test_the_settings_follow_the_backbone():
    on_stylegan = Settings.model_validate({"networks": {"backbone": "stylegan1"}, "train": {"batch": 4}})
    assert on_stylegan.on_stylegan and isinstance(on_stylegan.narrowed(OnStyleGAN).train, TwoClassTrain)
    assert not Settings().on_stylegan
    t = on_stylegan.train
    assert (t.adversarial, t.batch, t.iterations, t.feature_power, t.ema_decay) == ("wgan-gp", 4, 120_000, 1, 0.0)
    assert Settings.model_validate(on_stylegan.model_dump(mode="json")) == on_stylegan
    assert updates_after_first_phases(t.model_dump(mode="json")) == 100_000
    assert isinstance(method(), StyleGANMethod)
    networks = {**tiny.BIGGAN, "teacher_classes": 2}
    assert isinstance(build(MethodSetup(Settings(networks=networks), 32, 2, tiny.CPU)), BigGANMethod)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            {"train": {"adversarial": "r1"}},
            "x: `train.adversarial` needs a StyleGAN backbone: BigGAN has the hinge loss",
        ),
        (
            {"networks": {"backbone": "stylegan2", "width": 8}},
            "x: the key `networks.width` is unknown; the keys here are",
        ),
        (
            {"networks": {"backbone": "stylegan2"}, "train": {"generator_rate": 1}},
            "x: the key `train.generator_rate` is unknown; the keys here are adaptor_iterations, adversarial",
        ),
        (
            {"networks": {"backbone": "stylegan2"}, "train": {"iterations": 20_000}},
            "x: key `train`: `iterations` (20000) must be more than the 20000 that come before",
        ),
    ],
)
def test_mistakes_in_settings_are_one_sentence(data, sentence):
    with pytest.raises(UserError) as error:
        validate(Settings, data, "x")
    assert str(error.value).startswith(sentence)


def test_a_biggan_has_no_references():
    subject = build(MethodSetup(Settings(networks={**tiny.BIGGAN, "teacher_classes": 2}), 32, 2, tiny.CPU))
    with pytest.raises(UserError, match="transferi2i with these networks has no mode `reference`, but only `latent`"):
        tiny.translated(subject, torch.zeros(1, 3, 32, 32), torch.tensor([0]), "reference", torch.zeros(1, 3, 32, 32))
