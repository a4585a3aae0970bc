"""SEAN's training: what a step changes, that it learns one small batch, and where style codes come from."""

import pytest
import tiny
import torch
from pydantic import ValidationError

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.build import build_method, build_student
from kdx2i.methods.sean.method import Method
from kdx2i.methods.sean.settings import Settings
from kdx2i.methods.sean.styles import KEPT, StyleMemory
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.training.loop import LoopSettings, train, update_averages

SIZE, LABELS, CPU = 32, ("ground", "face", "eye"), torch.device("cpu")
NETWORKS = {
    "label_nc": 3, "ngf": 2, "ndf": 4, "style_layers": 3, "style_length": 8, "encoder_width": 4, "hidden": 4,
}  # fmt: skip


class Images:
    """Four images of flat regions, each with colours of its own."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randint(0, 3, (4, 4, 4), generator=generator)
        self.maps = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
        colours = torch.rand(3, 3, generator=generator) * 1.6 - 0.8
        self.images = colours[self.maps.long()].permute(0, 3, 1, 2).contiguous()

    def draw(self, batch):
        index = torch.arange(batch) % 4
        return self.images[index], LabelMapCondition(self.maps[index], LABELS)


def method(networks=None, images=True, **train_settings):
    torch.manual_seed(1)
    fast = {"batch": 4, "iterations": 100, "decay_iterations": 0, "generator_rate": 4e-3, "discriminator_rate": 1e-3}
    settings = Settings(networks=NETWORKS | (networks or {}), train={**fast, "lambda_vgg": 0.0, **train_settings})
    return Method(MethodSetup(settings, SIZE, 1, CPU, Images() if images else None))


def stepped(subject, step=0):
    torch.manual_seed(step)
    scalars = subject.training_step(step)
    update_averages(subject, subject.ema_decay(step))
    return scalars


def test_it_learns_one_small_batch():
    subject = method(flip=0.0)
    images, condition = subject.images.draw(4)

    def error():
        return (subject.generate(condition) - images).abs().mean().item()

    before = error()
    for step in range(24):
        stepped(subject, step)
    assert error() < 0.6 * before


def test_a_step_trains_both_networks_and_remembers_styles():
    subject = method(perceptual="vgg19", lambda_vgg=1.0)
    seen = []

    def counted(x, y):
        seen.append(x.shape)
        return (x - y).abs().mean()

    subject.__dict__["perceptual"] = counted
    before = tiny.state_of(subject.networks)
    scalars = stepped(subject)
    assert scalars.keys() == {"g_adv", "g_feat", "g_vgg", "d_fake", "d_real"}
    assert seen == [(4, 3, SIZE, SIZE)]
    changed = tiny.changed(before, tiny.state_of(subject.networks))
    named = {f"{n}.{k}" for n, net in subject.networks.items() for k, p in net.named_parameters() if p.requires_grad}
    # The last block has no styles to blend, and at low resolutions some labels have no pixel.
    idle = {name for name in named if name.startswith("generator.up_3.") and "blending" in name}
    idle |= {name for name in named if "fc_mu" in name and not name.startswith("generator.up_")}
    # While all logits lie within the margins, the halves of the hinge loss cancel in their bias.
    idle |= {name for name in named if name.endswith(".model3.0.bias")}
    assert named - changed <= idle
    assert any("up_2.ace_0.fc_mu" in name for name in changed)
    assert {"styles.means", "styles.seen", "styles.counts"} <= changed
    # Official: batch statistics move with the fakes of both steps, and never those of the branch of the map.
    assert int(subject.networks["generator"].up_0.ace_0.param_free_norm.num_batches_tracked) == 2
    assert int(subject.networks["generator"].up_0.ace_0.Spade.param_free_norm.num_batches_tracked) == 0


def test_maps_are_mirrored_with_their_images():
    images, condition = Images().draw(4)
    real, maps = method(flip=1.0)._draw(4)
    assert torch.equal(real, images.flip(3))
    assert torch.equal(maps.argmax(1).to(torch.uint8), condition.maps.flip(2))
    real, maps = method(flip=0.0)._draw(4)
    assert torch.equal(real, images) and torch.equal(maps.argmax(1).to(torch.uint8), condition.maps)


def test_rates_fall_to_zero_in_the_last_iterations():
    subject, rates = method(iterations=10, decay_iterations=4), []
    for step in range(10):
        subject._set_rates(step)
        rates.append(tuple(o.param_groups[0]["lr"] for o in subject.optimizers.values()))
    assert [g for g, _ in rates] == pytest.approx([4e-3] * 7 + [3e-3, 2e-3, 1e-3])
    assert [d for _, d in rates] == pytest.approx([1e-3] * 7 + [0.75e-3, 0.5e-3, 0.25e-3])


def test_killed_and_resumed_it_ends_in_the_same_bytes(tmp_path):
    def run(work, stop=None):
        subject = method(batch=2)
        proper = subject.training_step

        def stopping(step):
            if step == stop:
                raise tiny.Interruption
            return proper(step)

        subject.training_step = stopping
        train(subject, LoopSettings(3, 5, 1, 100, 1), work, "sean")

    run(tmp_path / "whole")
    with pytest.raises(tiny.Interruption):
        run(tmp_path / "stopped", stop=2)
    run(tmp_path / "stopped")
    assert tiny.outcome(tmp_path / "stopped") == tiny.outcome(tmp_path / "whole")


@pytest.fixture(scope="module")
def trained():
    """A method after two steps, with other settings of its style codes at will."""
    subject = method(flip=0.0)
    for step in range(2):
        stepped(subject, step)

    def with_networks(**changes):
        other = method(changes)
        for name, module in other.averages.items():
            module.load_state_dict(subject.averages[name].state_dict())
        return other

    return with_networks


@torch.no_grad()
def test_codes_without_a_reference(trained):
    _, condition = Images().draw(4)
    subject = trained()
    maps = subject.one_hot(condition.maps, LABELS)
    means = subject.codes(condition, maps)
    assert means.shape == (4, 3, 8) and means.abs().sum() > 0
    assert torch.equal(means, subject.averages["styles"].means.expand(4, -1, -1))
    assert not trained(codes_without_reference="zero").codes(condition, maps).any()
    drawing = trained(codes_without_reference="training-image")
    memory = drawing.averages["styles"]
    torch.manual_seed(0)
    drawn = drawing.codes(condition, maps)
    kept = memory.filled(memory.kept[:8], memory.present[:8])
    assert all(any(torch.equal(code, other) for other in kept) for code in drawn)
    torch.manual_seed(0)
    assert torch.equal(drawn, drawing.codes(condition, maps))


@torch.no_grad()
def test_codes_of_references(trained):
    images, condition = Images().draw(2)
    # The reference has one label alone, 2; the image to make has the others, too.
    reference, only = images[1:2], torch.full((1, SIZE, SIZE), 2, dtype=torch.uint8)
    given = LabelMapCondition(condition.maps[:1], LABELS, reference, only)
    subject = trained(absent_regions="zero")
    maps = subject.one_hot(given.maps, LABELS)
    encoder = subject.averages["generator"].Zencoder
    codes = subject.codes(given, maps)
    assert not codes[:, :2].any()
    torch.testing.assert_close(codes[:, 2], encoder.model(reference).mean((2, 3)))
    filled = trained().codes(given, maps)
    assert torch.equal(filled[:, 2], codes[:, 2])
    assert torch.equal(filled[0, :2], subject.averages["styles"].means[:2])
    target = trained(reference_map="target", absent_regions="zero").codes(given, maps)
    torch.testing.assert_close(target, encoder(reference, maps))


def test_images_follow_the_map_the_reference_and_the_noise(trained):
    subject = trained()
    images, condition = Images().draw(2)

    def made(maps, references=None, seed=0):
        torch.manual_seed(seed)
        given = LabelMapCondition(maps, LABELS, references, None if references is None else condition.maps)
        return subject.generate(given)

    plain = made(condition.maps)
    assert plain.shape == (2, 3, SIZE, SIZE) and plain.abs().max() <= 1
    assert torch.equal(plain, made(condition.maps))
    assert not torch.equal(plain, made(condition.maps, seed=1))
    assert not torch.equal(plain, made(condition.maps.flip(2)))
    assert not torch.equal(made(condition.maps, images), made(condition.maps, -images))
    pictures, columns = subject.preview()
    assert pictures.shape == (4 * columns, 3, SIZE, SIZE)


def test_what_does_not_fit_is_one_sentence(trained):
    subject, (images, condition) = trained(), Images().draw(1)
    with pytest.raises(UserError, match=r"set to 3 labels .* and the label maps have 2"):
        subject.generate(LabelMapCondition(condition.maps, ("a", "b")))
    with pytest.raises(UserError, match="needs the label maps of its references"):
        subject.generate(LabelMapCondition(condition.maps, LABELS, images))
    with pytest.raises(ValidationError, match=r"`label_nc` \(20\) is more than `style_layers` \(19\)"):
        Settings(networks={"label_nc": 20})
    with pytest.raises(ValidationError, match="are the last ones of `iterations`"):
        Settings(train={"iterations": 10, "decay_iterations": 11})
    with pytest.raises(UserError, match="a resolution that is a multiple of 32, not 48"):
        Method(MethodSetup(Settings(networks=NETWORKS), 48, 1, CPU))


def test_a_shorter_training_decays_in_its_own_second_half_also_from_its_spec():
    # A run's spec says every value, defaults too, and is read again.
    short = Settings(train={"iterations": 40})
    assert short.train.decay_iterations == 20 and Settings().train.decay_iterations == 43_750
    assert Settings(**short.model_dump(mode="json")) == short


def test_memory_means_images_at_first_and_follows_later():
    memory = StyleMemory(2, 1)
    codes = torch.tensor([[[1.0], [5.0]], [[3.0], [7.0]]])
    memory.update(codes, torch.tensor([[True, False], [True, True]]))
    assert memory.means.tolist() == [[2.0], [7.0]]
    memory.update(codes[:1] * 8, torch.tensor([[True, True]]))
    torch.testing.assert_close(memory.means, torch.tensor([[4.0], [23.5]]))
    for _ in range(KEPT):
        memory.update(codes[1:], torch.tensor([[True, False]]))
    assert memory.kept[:, 0].unique().tolist() == [3.0]
    assert memory.draw(5).tolist() == [[[3.0], [23.5]]] * 5
    assert 3.0 < memory.means[0].item() < 3.1


@torch.no_grad()
@pytest.mark.parametrize("kind", ["codes", "map"])
def test_conditions_of_stage_1(kind):
    settings = {"networks": NETWORKS | {"pseudo_condition": kind}}
    torch.manual_seed(0)
    student, _ = build_student("sean", settings, SIZE, CPU)
    generator = student.networks["generator"].eval()
    student.networks["discriminator"].eval()
    assert student.condition_dim == (8 if kind == "codes" else 3)
    noise, c = torch.randn(2, student.noise_dim), torch.randn(2, student.condition_dim)
    first = torch.randn(2, 16, 8, 8)[:, : student.generate(noise, c, None)[1][8].shape[1]]
    image, features = student.generate(noise, c, first)
    assert torch.equal(image, student.generate(noise, c, first)[0])
    assert not torch.equal(image, student.generate(noise, -c, first)[0])
    assert not torch.equal(image, student.generate(noise, c, None)[0])
    spread = c[:, :, None, None].expand(-1, -1, SIZE, SIZE)
    ones, codes = student.constant_condition(1.0, 2), torch.zeros(2, 3, 8)
    maps, codes = (ones, c[:, None].expand(2, 3, 8)) if kind == "codes" else (spread, codes)
    again = generator.with_features(maps, codes, first=first, noise=generator.noise_from(noise))
    assert torch.equal(image, again[0]) and all(torch.equal(features[r], again[1][r]) for r in features)
    constant = student.generate(noise, ones, None)[0]
    assert torch.equal(constant, generator(ones, torch.zeros(2, 3, 8), noise=generator.noise_from(noise)))
    logits = student.discriminate(image, c)
    assert logits.shape == (2, 6 * 6 + 4 * 4)
    assert not torch.equal(logits, student.discriminate(image, -c))
    blank = student.discriminate(image, student.constant_condition(0.0, 2))
    judged = student.networks["discriminator"](torch.cat([torch.zeros(2, 3, SIZE, SIZE), image], 1))
    torch.testing.assert_close(blank, torch.cat([scale[-1].flatten(1) for scale in judged], 1))


def tensors_of(student):
    return tiny.state_of(student.networks)


@pytest.mark.parametrize("styles", ["replicated", "as-trained"])
def test_stage_2_starts_from_a_student(styles):
    settings = {"networks": NETWORKS}
    torch.manual_seed(5)
    tensors = tensors_of(build_student("sean", settings, SIZE, CPU)[0])
    subject = method({"student_styles": styles})
    encoder = tiny.state_of({"e": subject.networks["generator"].Zencoder})
    subject.initialise(tensors, reset_encoders=True)
    own = tiny.state_of(subject.networks)
    assert tiny.changed(encoder, tiny.state_of({"e": subject.networks["generator"].Zencoder})) == set()
    rest = {name for name in tensors if "Zencoder" not in name and "fc_mu" not in name}
    assert all(torch.equal(own[name], tensors[name]) for name in rest)
    layers = {n: n.replace("fc_mu0", "fc_mu2") if styles == "replicated" else n for n in own if "fc_mu0" in n}
    assert layers and all(torch.equal(own[name], tensors[source]) for name, source in layers.items())
    assert all(torch.equal(t, own[f"generator.{k}"]) for k, t in subject.averages["generator"].state_dict().items())
    generator = {name: tensor for name, tensor in tensors.items() if name.startswith("generator")}
    subject.initialise(generator, reset_encoders=False)
    with pytest.raises(UserError, match="it is not a student of sean"):
        subject.initialise({}, reset_encoders=False)
    with pytest.raises(UserError, match="the distilled generator does not fit this run's generator"):
        method({"ngf": 3}).initialise(tensors, reset_encoders=False)


def test_it_is_built_from_its_name():
    subject = build_method("sean", {"networks": NETWORKS}, SIZE, 1, CPU)
    assert isinstance(subject, Method)
    with pytest.raises(RuntimeError, match="without images to train on"):
        subject.training_step(0)
