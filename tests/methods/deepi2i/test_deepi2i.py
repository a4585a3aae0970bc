"""DeepI2I on BigGAN: its data flow, its stages, its settings, and that its objectives fall on small batches."""

import pytest
import tiny
import torch
from pydantic import ValidationError

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.deepi2i.method import build
from kdx2i.methods.deepi2i.settings import Settings
from kdx2i.methods.families.biggan import networks as biggan
from kdx2i.methods.families.biggan.losses import feature_distances, feature_pairs, weighted_sum
from kdx2i.methods.families.biggan.settings import BigGANNetworks
from kdx2i.methods.settings import updates_after_first_phases
from kdx2i.teacher.biggan.weights import save_biggan
from kdx2i.training.loop import LoopSettings, train
from kdx2i.training.starts import weights_follow

CLASSES = 3
TEACHER_CLASSES = 5


@pytest.fixture
def teacher(tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_biggan(path, *tiny.biggan(TEACHER_CLASSES, seed=4), {})
    return path


def method(networks=None, **changes):
    torch.manual_seed(1)
    budget = {"iterations": 40, "adaptor_iterations": 2, "batch": 6, "accumulation": 1}
    settings = Settings(
        networks={**tiny.BIGGAN, "teacher_classes": TEACHER_CLASSES, **(networks or {})},
        train={**budget, "generator_rate": 1e-3, "discriminator_rate": 2e-3, **changes},
    )
    return build(MethodSetup(settings, 32, CLASSES, tiny.CPU, tiny.sampler(side=32)))


def state(network):
    return {k: v.clone() for k, v in network.state_dict().items()}


def moved(network, before):
    return any(not torch.equal(before[name], p) for name, p in network.named_parameters())


def step(subject, number):
    torch.manual_seed(number)
    return subject.training_step(number)


def test_it_starts_from_the_teacher(teacher):
    subject = method()
    subject.start_from_teacher(teacher)
    generator, discriminator = tiny.biggan(TEACHER_CLASSES, seed=4)
    for name, source in (("generator", generator), ("discriminator", discriminator), ("encoder", discriminator)):
        for (key, tensor), expected in zip(
            subject.networks[name].state_dict().items(), source.state_dict().values(), strict=True
        ):
            assert torch.equal(tensor, expected), f"{name}.{key}"
    for name in biggan.TRANSLATING:
        for tensor, expected in zip(
            subject.networks[name].parameters(), subject.averages[name].parameters(), strict=True
        ):
            assert torch.equal(tensor, expected)


def test_networks_that_a_teacher_replaces_need_no_start_of_their_own(teacher):
    whole = method()
    drawn = torch.rand(4)
    with weights_follow():
        subject = method()
    assert torch.equal(torch.rand(4), drawn)
    whole.start_from_teacher(teacher)
    subject.start_from_teacher(teacher)
    for name in (*subject.networks, *subject.averages):
        networks = subject.networks if name in subject.networks else subject.averages
        for key, tensor in networks[name].state_dict().items():
            expected = (whole.networks if name in whole.networks else whole.averages)[name].state_dict()[key]
            assert torch.equal(tensor, expected), f"{name}.{key}"


def test_classes_may_start_from_the_mean(teacher):
    subject = method({"class_start": "mean"})
    subject.start_from_teacher(teacher)
    generator, discriminator = tiny.biggan(TEACHER_CLASSES, seed=4)
    torch.testing.assert_close(subject.generator.shared.weight[1], generator.shared.weight.mean(0))
    torch.testing.assert_close(subject.discriminator.embed.weight[2], discriminator.embed.weight.mean(0))


def test_teachers_that_do_not_fit_are_refused(teacher, tmp_path):
    subject = method({"teacher_classes": 4})
    before = state(subject.generator)
    with pytest.raises(UserError, match="teacher_classes 5, but this run's is 4"):
        subject.start_from_teacher(teacher)
    assert not moved(subject.generator, before)
    with pytest.raises(UserError, match="the dataset has 3 classes, the teacher 2"):
        method({"teacher_classes": 2})
    with pytest.raises(UserError, match="no weight for the features at 16 px"):
        method({"added": {4: 0.1, 8: 0.1}})
    with pytest.raises(UserError, match=r"networks\.table"):
        biggan.build_networks(BigGANNetworks(table="truncated"), 64, 3, tiny.CPU)


def test_the_first_stage_leaves_the_generator_and_the_encoder_alone(teacher):
    subject = method()
    subject.start_from_teacher(teacher)
    before = {name: state(network) for name, network in subject.networks.items()}
    step(subject, 0)
    learned = {name for name, network in subject.networks.items() if moved(network, before[name])}
    assert learned == {"adaptor", "discriminator"}
    step(subject, 2)
    learned = {name for name, network in subject.networks.items() if moved(network, before[name])}
    assert learned == {"adaptor", "discriminator", "generator"}


@pytest.mark.parametrize(("encoder", "buffers", "weights"), [("moving", 1, 0), ("frozen", 0, 0), ("trained", 1, 1)])
def test_what_the_encoder_does(teacher, encoder, buffers, weights):
    subject = method(encoder=encoder)
    subject.start_from_teacher(teacher)
    before = state(subject.encoder)
    step(subject, 2)
    assert moved(subject.encoder, before) == bool(weights)
    turned = any(not torch.equal(before[k], v) for k, v in subject.encoder.named_buffers() if k.endswith("u0"))
    assert turned == bool(buffers)


@pytest.mark.parametrize("sampling", ["balanced", "plain"])
def test_a_plain_loader_draws_images_and_asks_for_classes_alike(teacher, monkeypatch, sampling):
    subject = method(sampling=sampling)
    subject.start_from_teacher(teacher)
    drawn, asked = subject.images.draw_labels, []
    monkeypatch.setattr(
        subject.images,
        "draw_labels",
        lambda batch, *, balanced=True: asked.append(balanced) or drawn(batch, balanced=balanced),
    )
    step(subject, 0)
    # Sources, real images, and the classes that are asked for.
    assert asked == [sampling == "balanced"] * 2 + [True]


@pytest.mark.parametrize("pairs", ["per-sample", "official"])
def test_the_objectives_fall_on_a_small_batch(teacher, pairs):
    """The discriminator learns first; against it as it then stays, adaptor and generator gain."""
    subject = method(feature_pairs=pairs)
    subject.start_from_teacher(teacher)
    outcome = [step(subject, n) for n in range(40)]
    first, last = (
        sum(float(terms["d_real"] + terms["d_fake"]) for terms in outcome[part]) for part in (slice(5), slice(-5, None))
    )
    assert last < 0.9 * first
    subject.optimizers["discriminator"].param_groups[0]["lr"] = 0.0
    outcome = [step(subject, 40 + n % 4) for n in range(16)]
    first, last = (sum(float(t["g_adv"] + t["feature"]) for t in outcome[part]) for part in (slice(4), slice(-4, None)))
    assert last < first - 0.3


def test_the_feature_loss_alone_falls(teacher):
    """Weighted heavily, the distance to the source's features goes down: the pairs are those of each sample."""
    subject = method(compared={4: 1e4, 8: 1e4, 16: 1e4}, discriminator_rate=1e-3)
    subject.start_from_teacher(teacher)
    subject.optimizers["discriminator"].param_groups[0]["lr"] = 0.0
    outcome = [float(step(subject, 2)["feature"]) for _ in range(25)]
    assert outcome[-1] < 0.8 * outcome[0]


def test_pairs_of_the_feature_loss():
    made, source = {4: torch.arange(3.0)[:, None]}, {4: torch.full((3, 1), 5.0)}
    distances = feature_distances(*feature_pairs(made, source, "per-sample"))
    assert distances[4].item() == pytest.approx((25 + 16 + 9) / 3)
    # The official code compares translations 0 and 1.
    assert feature_distances(*feature_pairs(made, source, "official"))[4].item() == 1.0
    assert weighted_sum(distances, {4: 0.5, 32: 7.0}).item() == pytest.approx(25 / 3)


def test_parts_of_a_batch_give_the_gradients_of_the_whole(teacher):
    """With norms in evaluation, where images do not see each other, two halves are the whole batch."""
    results = []
    for accumulation in (1, 2):
        subject = method(accumulation=accumulation, encoder="frozen", discriminator_rate=0.5)
        subject.start_from_teacher(teacher)
        subject.optimizers = {k: torch.optim.SGD(subject.networks[k].parameters(), 0.01) for k in subject.optimizers}
        for network in subject.networks.values():
            network.eval()
        step(subject, 2)
        results.append(subject.networks)
    for name in ("generator", "adaptor", "discriminator"):
        for a, b in zip(results[0][name].parameters(), results[1][name].parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_translation_depends_on_source_class_and_noise(teacher):
    subject = method({"added": {4: 1.0, 8: 1.0, 16: 1.0}})
    subject.start_from_teacher(teacher)
    x, y = torch.rand(2, 3, 32, 32) * 2 - 1, torch.tensor([0, 1])

    def translate(x, y, seed=0):
        torch.manual_seed(seed)
        return tiny.translated(subject, x, y, "latent")

    image = translate(x, y)
    assert image.shape == x.shape
    assert image.abs().max() <= 1
    assert torch.equal(image, translate(x, y))
    assert not torch.equal(image, translate(-x, y))
    assert not torch.equal(image, translate(x, 1 - y))
    assert not torch.equal(image, translate(x, y, 1))
    # Running statistics: an image does not depend on its neighbours.
    torch.manual_seed(0)
    torch.testing.assert_close(tiny.translated(subject, x[:1], y[:1], "latent"), image[:1], rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="no mode `reference`"):
        tiny.translated(subject, x, y, "reference", x)


def test_an_interrupted_training_ends_in_the_same_weights(teacher, tmp_path):
    whole, first, second = (method() for _ in range(3))
    for subject in (whole, first, second):
        subject.start_from_teacher(teacher)
    train(whole, LoopSettings(4, 0), tmp_path / "whole", "whole")
    train(first, LoopSettings(2, 0), tmp_path / "parts", "first")
    train(second, LoopSettings(4, 0), tmp_path / "parts", "second")
    for name in whole.networks:
        pairs = zip(
            whole.networks[name].state_dict().values(), second.networks[name].state_dict().values(), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs), name


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 6, "accumulation": 4},
        {"adaptor_iterations": 9, "iterations": 9},
        {"feature_pairs": "official", "batch": 8},
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(train=wrong)


def test_updates_count_those_of_the_generator():
    assert (
        updates_after_first_phases(Settings(train={"iterations": 30, "adaptor_iterations": 10}).model_dump()["train"])
        == 20
    )
