"""SSA-GAN: objectives against their formulas, one iteration, generation, what stage 1 asks of it, one small batch."""

import copy
import hashlib

import pytest
import tiny
import tiny_text
import torch
from torch import nn

from kdx2i.encoders.damsm.files import save_damsm
from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.build import build_method
from kdx2i.methods.ssa_gan.losses import discriminator_loss, generator_loss, matching_penalty
from kdx2i.methods.ssa_gan.method import NETWORKS as NETWORK_NAMES
from kdx2i.methods.ssa_gan.method import Method
from kdx2i.methods.ssa_gan.networks import Discriminator, Generator, channel_multiples
from kdx2i.methods.ssa_gan.settings import Settings
from kdx2i.methods.ssa_gan.student import Student
from kdx2i.tasks.conditions import CaptionCondition
from kdx2i.teacher.official.state_dicts import load_official
from kdx2i.training.loop import LoopSettings, train, update_averages

SIDE = tiny_text.SIDE
NETWORKS = {"ngf": 2, "ndf": 4, "noise_dim": 6, "condition_dim": 16, "modulation_width": 8}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoders") / "damsm.safetensors"
    save_damsm(path, tiny_text.damsm())
    return path


def method(encoders, *, images=True, seed=1, networks=(), **changes):
    options = {"batch": 4, "crop": 1.0, **changes}
    settings = Settings(networks={**NETWORKS, **dict(networks)}, train=options)
    torch.manual_seed(seed)
    data = tiny_text.paired_images() if images else None
    return Method(MethodSetup(settings, SIDE, 5, tiny_text.CPU, data, encoders))


class Linear(nn.Module):
    """Stands for a discriminator: logits are three times the sum of an image plus twice the sum of its condition."""

    def forward(self, x):
        return 3 * x.flatten(1).sum(1)

    def judge(self, features, c):
        return features + 2 * c.sum(1)


def test_the_hinge_has_the_mismatch_of_the_next_sentence():
    real, fake = torch.full((3, 1, 1, 1), 0.1), torch.full((3, 1, 1, 1), -0.2)
    c = torch.tensor([[0.0], [0.2], [-0.3]])
    terms = discriminator_loss(Linear(), real, fake, c)
    assert terms["real"].item() == pytest.approx((0.7 + 0.3 + 1.3) / 3)
    assert terms["fake"].item() == pytest.approx((0.4 + 0.8 + 0.0) / 3)
    assert terms["mismatch"].item() == pytest.approx((1.7 + 0.7) / 2)
    assert terms["total"].item() == pytest.approx(2.3 / 3 + (0.4 + 1.2) / 2)
    assert generator_loss(Linear(), fake, c).item() == pytest.approx(0.6 + 0.2 / 3)


def test_the_penalty_has_one_norm_over_image_and_sentence():
    real, c = torch.rand(2, 3, 2, 2), torch.rand(2, 5)
    # 12 derivatives of 3 and 5 of 2: the norm's square is 12 * 9 + 5 * 4.
    assert matching_penalty(Linear(), real, c, 2.0, 6.0).item() == pytest.approx(2 * 128.0**3)
    assert matching_penalty(Linear(), real, c, 0.5, 4.0).item() == pytest.approx(0.5 * 128.0**2)


def test_the_penalty_of_a_flat_discriminator_has_gradients():
    network = Discriminator(1, 8, 3)
    nn.init.zeros_(network.COND_DNET.joint_conv[2].weight)
    penalty = matching_penalty(network, torch.rand(2, 3, 8, 8), torch.rand(2, 3), 2.0, 6.0)
    gradients = torch.autograd.grad(penalty, list(network.parameters()), allow_unused=True)
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None)


def test_channels_of_a_resolution_are_those_of_the_official_generator():
    assert list(channel_multiples(256).values()) == [8, 8, 8, 8, 4, 2, 1]
    assert channel_multiples(32) == {4: 8, 8: 8, 16: 8, 32: 8}
    features = Generator(2, 4, 64, 6, 5).render(torch.randn(2, 4), torch.randn(2, 6))[1]
    assert {side: tuple(f.shape) for side, f in features.items()} == {
        side: (2, 16 if side < 64 else 8, side, side) for side in (4, 8, 16, 32, 64)
    }


def moved(network):
    """Return a generator whose text and residuals count."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("gamma", "linear2.weight", "linear2.bias")):
                parameter.normal_(std=0.3)
    return network.eval()


@pytest.mark.parametrize("place", ["block-input", "block-output"])
def test_the_first_feature_is_summed_where_the_setting_says(place):
    network = moved(Generator(2, 4, 16, 6, 5, place))
    z, c, first = torch.randn(2, 4), torch.randn(2, 6), torch.randn(2, 16, 8, 8)
    plain, features, _ = network.render(z, c)
    image, summed, _ = network.render(z, c, first)
    assert torch.equal(summed[4], features[4])
    assert not torch.allclose(image, plain)
    difference = summed[8] - features[8]
    assert torch.allclose(difference, first, atol=1e-5) == (place == "block-output")
    torch.testing.assert_close(network.render(z, c, torch.zeros_like(first))[0], plain)
    with pytest.raises(ValueError, match="no features of 32 px"):
        network.render(z, c, torch.zeros(2, 16, 32, 32))


def test_at_first_the_text_has_no_effect_and_later_it_has():
    network = Generator(2, 4, 16, 6, 5).eval()
    z, c = torch.randn(2, 4), torch.randn(2, 6)
    assert torch.equal(network(z, c), network(z, -c))
    moved(network)
    assert not torch.allclose(network(z, c), network(z, -c))


def test_the_discriminator_takes_two_adam_steps_and_the_generator_one(encoders):
    subject = method(encoders)
    recorders = tiny.record(subject)
    scalars = subject.training_step(0)
    assert {name: len(recorder.steps) for name, recorder in recorders.items()} == {"generator": 1, "discriminator": 2}
    assert set(scalars) == {"d_real", "d_fake", "d_mismatch", "d_penalty", "g_adv", "g_damsm"}
    without = method(encoders, penalty_weight=0.0, damsm_weight=0.0)
    recorders = tiny.record(without)
    assert set(without.training_step(0)) == {"d_real", "d_fake", "d_mismatch", "g_adv"}
    assert len(recorders["discriminator"].steps) == 1


def test_the_recorded_gradients_are_those_of_the_objectives(encoders):
    subject = method(encoders, class_mask=False, damsm_weight=0.3)
    recorders = tiny.record(subject)
    torch.manual_seed(7)
    subject.training_step(0)
    again = method(encoders, class_mask=False, damsm_weight=0.3)
    torch.manual_seed(7)
    z = again.noise(4)
    real, text, classes = again.draw()
    generator, discriminator = again.networks["generator"], again.networks["discriminator"]
    fake = generator(z, text.sentences)
    total = generator_loss(discriminator, fake, text.sentences) + 0.3 * again.matching(fake, text, classes)
    expected = torch.autograd.grad(total, list(generator.parameters()), allow_unused=True, retain_graph=True)
    for own, gradient in zip(recorders["generator"].steps[0], expected, strict=True):
        torch.testing.assert_close(own, torch.empty(0) if gradient is None else gradient)
    hinge = discriminator_loss(discriminator, real, fake, text.sentences)["total"]
    penalty = matching_penalty(discriminator, real, text.sentences, 2.0, 6.0)
    for loss, step in ((hinge, 0), (penalty, 1)):
        expected = torch.autograd.grad(loss, list(discriminator.parameters()), allow_unused=True)
        for own, gradient in zip(recorders["discriminator"].steps[step], expected, strict=True):
            torch.testing.assert_close(own, torch.empty(0) if gradient is None else gradient)


def test_batches_are_sorted_by_length_with_their_images(encoders):
    subject = method(encoders, batch=8)
    torch.manual_seed(0)
    images, text, classes = subject.draw()
    assert text.lengths.tolist() == sorted(text.lengths.tolist(), reverse=True)
    assert len(set(text.lengths.tolist())) > 1
    colours = list(tiny_text.COLOURS)
    for image, label in zip(images, classes.tolist(), strict=True):
        found = [torch.equal(image, tiny_text.picture(colours[label], p).float() / 127.5 - 1) or
                 torch.allclose(image.flip(2), tiny_text.picture(colours[label], p).float() / 127.5 - 1, atol=1e-5) or
                 torch.allclose(image, tiny_text.picture(colours[label], p).float() / 127.5 - 1, atol=1e-5)
                 for p in tiny_text.PLACES]  # fmt: skip
        assert any(found)


def test_pairs_of_one_class_are_no_mistakes(encoders):
    subject = method(encoders)
    images, text = torch.rand(4, 3, SIDE, SIDE), subject.damsm.encode_text(["a red square", "left: red"] * 2)
    same, other = torch.zeros(4, dtype=torch.int64), torch.arange(4)
    # All of one class: nothing is left to be mistaken for.
    assert subject.matching(images, text, same).item() == pytest.approx(0.0, abs=1e-5)
    assert subject.matching(images, text, other).item() > 1.0


def test_encoders_stay_as_they_are_and_both_networks_learn(encoders):
    subject = method(encoders)
    before, frozen = tiny.state_of(subject.networks), tiny.state_of(subject.damsm.modules)
    subject.training_step(0)
    assert not tiny.changed(frozen, tiny.state_of(subject.damsm.modules))
    names = tiny.changed(before, tiny.state_of(subject.networks))
    assert {"generator.fc.weight", "generator.block0.gamma", "discriminator.conv_img.weight"} <= names
    assert not any("conv_s" in name and name.startswith("discriminator.block3") for name in names)


def on_one_batch(subject, name, steps):
    """Return a scalar of each step on the same batch, noise and order."""
    values = []
    for step in range(steps):
        torch.manual_seed(0)
        values.append(subject.training_step(step)[name].item())
    return values


def test_the_discriminator_learns_one_small_batch(encoders):
    subject = method(encoders, discriminator_rate=5e-3, generator_rate=1e-12, damsm_weight=0.0, penalty_weight=0.0)
    hinge = on_one_batch(subject, "d_fake", 25)
    assert hinge[-1] < 0.5 * hinge[0]


def test_the_generator_learns_to_match_the_captions_of_one_small_batch(encoders):
    changes = {"generator_rate": 5e-3, "discriminator_rate": 1e-3, "batch": 8}
    matching = on_one_batch(method(encoders, damsm_weight=10.0, **changes), "g_damsm", 40)
    assert sum(matching[-5:]) / 5 < 0.9 * matching[0]


def test_images_are_of_the_averaged_generator_and_its_running_statistics(encoders):
    subject = method(encoders)
    for step in range(2):
        subject.training_step(step)
        update_averages(subject, subject.ema_decay(step))
    condition = CaptionCondition(("a red square", "left: blue", "unseen words only"))
    torch.manual_seed(3)
    images = subject.generate(condition)
    assert images.shape == (3, 3, SIDE, SIDE)
    assert images.abs().max() <= 1
    torch.manual_seed(3)
    z = torch.randn(3, 6)
    network = copy.deepcopy(subject.networks["generator"]).eval()
    with torch.no_grad():
        expected = network(z, subject.damsm.encode_text(condition.captions).sentences)
    torch.testing.assert_close(images, expected)
    assert subject.preview()[0].shape == (3 * subject.settings.train.batch, 3, SIDE, SIDE)


def test_a_resumed_training_ends_in_the_same_bytes(encoders, tmp_path):
    settings = {"seed": 5, "checkpoint_every": 2, "sample_every": 100}
    train(method(encoders, ema_decay=0.9), LoopSettings(3, **settings), tmp_path / "whole", "whole")
    train(method(encoders, ema_decay=0.9), LoopSettings(2, **settings), tmp_path / "halves", "first")
    train(method(encoders, ema_decay=0.9, seed=8), LoopSettings(3, **settings), tmp_path / "halves", "second")
    files = [(tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("whole", "halves")]
    assert hashlib.sha256(files[0]).digest() == hashlib.sha256(files[1]).digest()


def test_it_starts_from_a_distilled_student(encoders):
    subject, student = method(encoders), method(encoders, seed=9)
    state = tiny.state_of({name: student.networks[name] for name in NETWORK_NAMES})
    projection = {"projection.weight": torch.zeros(2, 2)}
    subject.initialise({**state, **projection}, reset_encoders=False)
    assert not tiny.changed(state, tiny.state_of({name: subject.networks[name] for name in NETWORK_NAMES}))
    average = subject.averages["generator"].state_dict()
    assert all(torch.equal(average[key], value) for key, value in student.networks["generator"].state_dict().items())
    cases = [({}, False, "no generator"), (state, True, "no distilled encoders")]
    cases.append(({**state, "generator.fc.bias": torch.zeros(3)}, False, "does not fit"))
    for given, reset, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            subject.initialise(given, reset_encoders=reset)


@pytest.mark.parametrize(("prefix", "legacy"), [("module.", True), ("", False)])
def test_official_files_load(tmp_path, prefix, legacy):
    torch.manual_seed(0)
    published, own = Discriminator(2, 16, 6), Discriminator(2, 16, 6)
    state = {prefix + key: value for key, value in published.state_dict().items()}
    path = tmp_path / "netD_600.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    load_official(own, path)
    assert not tiny.changed(tiny.state_of({"d": published}), tiny.state_of({"d": own}))
    with pytest.raises(UserError, match="does not fit the network that the settings describe"):
        load_official(Discriminator(3, 16, 6), path)
    torch.save(list(state), path)
    with pytest.raises(UserError, match="holds no state dict"):
        load_official(own, path)


def test_bad_settings_are_refused_in_one_sentence(encoders, tmp_path):
    with pytest.raises(UserError, match=r"name those of its dataset in `encoders`"):
        method(None)
    with pytest.raises(UserError, match=r"nowhere\.safetensors does not exist"):
        method(tmp_path / "nowhere.safetensors")
    with pytest.raises(UserError, match=r"sentences of 16 numbers, but `networks\.condition_dim` is 12"):
        method(encoders, networks={"condition_dim": 12})
    settings = {"networks": NETWORKS}
    assert isinstance(build_method("ssa_gan", settings, SIDE, 5, tiny_text.CPU, encoders=encoders), Method)
    with pytest.raises(UserError, match="not 48"):
        build_method("ssa_gan", settings, 48, 5, tiny_text.CPU, encoders=encoders)


def test_the_student_draws_under_pseudo_conditions_without_encoders():
    torch.manual_seed(0)
    student = Student(Settings(networks=NETWORKS).networks, 16, tiny_text.CPU)
    for network in student.networks.values():
        moved(network)
    noise, c, first = torch.randn(2, 6), torch.randn(2, student.condition_dim), torch.randn(2, 16, 8, 8)
    image, features = student.generate(noise, c, first)
    without, own = student.generate(noise, c, None)
    assert image.shape == (2, 3, 16, 16)
    assert {side: f.shape[1] for side, f in features.items()} == {4: 16, 8: 16, 16: 16}
    torch.testing.assert_close(features[8], own[8] + first)
    assert not torch.allclose(image, without)
    zero = student.constant_condition(0.0, 2)
    assert zero.shape == c.shape
    assert not torch.allclose(student.generate(noise, zero, None)[0], without)
    logits = student.discriminate(image, c)
    assert logits.shape == (2,)
    assert not torch.allclose(logits, student.discriminate(image, zero))
    other = student.with_networks(copy.deepcopy(dict(student.networks)))
    assert torch.equal(other.generate(noise, c, None)[0], without)
