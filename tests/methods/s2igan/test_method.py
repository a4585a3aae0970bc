"""S2IGAN in training and generation: what a step changes, that it learns, resumes, starts from a student, refuses."""

from collections import OrderedDict

import pytest
import spoken
import torch

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.build import build_method
from kdx2i.methods.s2igan.method import Method
from kdx2i.methods.s2igan.official import load_official, load_official_folder
from kdx2i.methods.s2igan.settings import Settings
from kdx2i.tasks.conditions import SpeechCondition
from kdx2i.training.loop import LoopSettings, train, update_averages
from kdx2i.training.optimizers import step_optimizers

CPU = torch.device("cpu")
SIDE = 32
SIZES = {"gf_dim": 8, "df_dim": 4, "condition_dim": 4, "noise_dim": 6, "speech_dim": 8, "residual_blocks": 1}


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    spoken.register(monkeypatch)


@pytest.fixture
def method(tmp_path):
    file = spoken.encoder_file(tmp_path)

    def build(images=True, networks=None, encoders=file, **changes):
        values = {"batch": 6, "learning_rate": 2e-3, "enlarge": 1.0, **changes}
        sizes = {**SIZES, **(networks or {})}
        torch.manual_seed(1)
        settings = Settings.model_validate({"networks": sizes, "train": values})
        return Method(MethodSetup(settings, SIDE, 4, CPU, spoken.paired(SIDE) if images else None, encoders))

    return build


def parameters(subject):
    return {name: [p.clone() for p in network.parameters()] for name, network in subject.networks.items()}


def step(subject, number):
    torch.manual_seed(number)
    scalars = subject.training_step(number)
    update_averages(subject, subject.ema_decay(number))
    return scalars


def condition(count):
    return SpeechCondition(tuple(spoken.tone(n % 3, n % 4) for n in range(count)), spoken.RATE)


def test_a_step_moves_all_networks_and_no_encoder(method):
    subject = method()
    trained = ["generator", "discriminator8", "discriminator16", "discriminator32", "relation"]
    assert list(subject.networks) == [*trained, "embeddings"]
    before, encoder = parameters(subject), [p.clone() for p in subject.encoder.speech.parameters()]
    heads = [p.clone() for p in subject.encoder.image.parameters()]
    scalars = step(subject, 0)
    assert set(scalars) == {*trained[1:], "g_adversarial", "g_kl", "g_relation"}
    for name in trained:
        old = before[name]
        assert all(not torch.equal(a, b) for a, b in zip(old, subject.networks[name].parameters(), strict=True)), name
    assert all(torch.equal(a, b) for a, b in zip(encoder, subject.encoder.speech.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(heads, subject.encoder.image.parameters(), strict=True))
    average, network = subject.averages["generator"], subject.networks["generator"]
    old, new, mean = (part.ca_net.fc.weight if part is not before else before["generator"][0]
                      for part in (before, network, average))  # fmt: skip
    torch.testing.assert_close(mean, 0.999 * old + 0.001 * new)
    assert torch.equal(average.h_net1.fc[1].running_mean, network.h_net1.fc[1].running_mean)


def test_the_discriminators_learn_one_small_batch(method, monkeypatch):
    subject = method(lambda_relation=0.0, learning_rate=4e-3)
    torch.manual_seed(0)
    drawn = subject.images.draw_related(6)
    monkeypatch.setattr(type(subject.images), "draw_related", lambda self, batch, **options: drawn)
    losses = []
    for number in range(20):
        scalars = step(subject, number)
        losses.append(sum(scalars[f"discriminator{side}"].item() for side in (8, 16, 32)))
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])


def test_the_generator_fits_one_small_batch(method):
    subject = method(lambda_relation=0.0)
    torch.manual_seed(0)
    drawn, (noise, eps) = subject.images.draw_related(6), subject._draw_noise(6)
    speech, target = subject.encoder.embed_speech(drawn.condition), drawn.images.float() / 127.5 - 1
    optimizer = torch.optim.Adam(subject.networks["generator"].parameters(), 5e-3, (0.5, 0.999))
    losses = []
    for _ in range(40):
        loss = (subject.networks["generator"](noise, speech, eps).images[-1] - target).abs().mean()
        step_optimizers(loss, optimizer)
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


def test_the_relation_term_has_the_label_that_the_setting_says(method, monkeypatch):
    seen = []
    from kdx2i.methods.s2igan import method as module

    def recorded(relate, real, similar, fake, wrong, label):
        seen.append(label)
        return relation_loss(relate, real, similar, fake, wrong, label)

    relation_loss = module.relation_loss
    monkeypatch.setattr(module, "relation_loss", recorded)
    for choice in ("similar", "separate"):
        step(method(relation_fake=choice), 0)
    assert seen == [1, 3]


def test_without_its_weight_there_is_no_relation_supervisor_nor_image_network(method):
    subject = method(lambda_relation=0.0)
    assert "relation" not in subject.networks and subject.encoder.image_network is None
    assert "g_relation" not in step(subject, 0)
    assert "relation" not in method(images=False).networks


def test_wrong_images_are_drawn_as_the_setting_says(method, monkeypatch):
    asked = []
    subject = method(wrong_images="other-class")
    draw = type(subject.images).draw_related
    monkeypatch.setattr(
        type(subject.images), "draw_related", lambda self, batch, **o: asked.append(o) or draw(self, batch, **o)
    )
    step(subject, 0)
    step(method(), 0)
    assert [options["always_other_class"] for options in asked] == [True, False]


def test_the_average_takes_over_when_the_official_code_saves(method):
    subject = method(average_takes_over_every=2, learning_rate=1e-9)
    step(subject, 0)
    with torch.no_grad():
        for average in subject.averages["generator"].parameters():
            average.fill_(0.25)
    subject.training_step(1)
    assert not torch.allclose(subject.networks["generator"].ca_net.fc.weight, torch.tensor(0.25))
    subject.training_step(2)
    torch.testing.assert_close(
        subject.networks["generator"].ca_net.fc.weight, torch.full((16, 8), 0.25), atol=1e-6, rtol=0
    )


def test_a_resumed_training_ends_in_the_same_bytes(method, tmp_path):
    def run(folder, *lengths):
        for length in lengths:
            subject = method()
            train(subject, LoopSettings(length, seed=4, checkpoint_every=1), tmp_path / folder, "s2igan")
        return subject

    whole, parts = run("whole", 3), run("parts", 1, 3)
    for networks in ("networks", "averages"):
        for name, network in getattr(whole, networks).items():
            other = getattr(parts, networks)[name].state_dict()
            assert all(torch.equal(tensor, other[key]) for key, tensor in network.state_dict().items()), name


def test_images_follow_the_utterance_the_noise_and_nothing_else(method):
    subject = method()
    step(subject, 0)

    def made(given, seed=3):
        torch.manual_seed(seed)
        return subject.generate(given)

    images = made(condition(4))
    assert images.shape == (4, 3, SIDE, SIDE) and images.abs().max() <= 1
    assert torch.equal(images, made(condition(4)))
    assert not torch.allclose(images, made(condition(4), seed=4))
    turned = SpeechCondition(condition(4).waveforms[::-1], spoken.RATE)
    assert (images - made(turned)).abs().max() > 1e-4
    with pytest.raises(UserError, match="8000 Hz"):
        subject.generate(SpeechCondition(condition(1).waveforms, 8000))
    shown, per_row = subject.preview()
    assert shown.shape == (3 * per_row, 3, SIDE, SIDE) and per_row == subject.settings.train.batch


def test_a_students_networks_are_where_it_starts(method):
    teacher, subject = method(), method()
    for network in teacher.networks.values():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    named = {"generator": "generator", "discriminator32": "discriminator.32"}
    student = {
        f"{place}.{key}": tensor
        for name, place in named.items()
        for key, tensor in teacher.networks[name].state_dict().items()
    }
    kept = parameters(subject)
    subject.initialise(student, reset_encoders=False)
    for name, network in subject.networks.items():
        expected = teacher.networks[name].parameters() if name in ("generator", "discriminator32") else kept[name]
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), expected, strict=True)), name
    average = subject.averages["generator"].state_dict()
    assert all(torch.equal(average[key], t) for key, t in subject.networks["generator"].state_dict().items())
    with pytest.raises(UserError, match="holds no generator"):
        subject.initialise({}, reset_encoders=False)
    with pytest.raises(UserError, match="does not fit"):
        subject.initialise({"generator.ca_net.fc.bias": torch.zeros(3)}, reset_encoders=False)
    with pytest.raises(UserError, match="no encoder that its student learns"):
        subject.initialise(student, reset_encoders=True)


def test_official_checkpoints_are_loaded_by_their_keys(method, tmp_path):
    source, subject = method(), method()
    files = {"generator": "netG_600", "relation": "netMD"}
    files |= {f"discriminator{side}": f"netD{number}" for number, side in enumerate((8, 16, 32))}
    published = {name: source.networks[name] for name in files}
    for name, network in published.items():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter)
        state = OrderedDict((f"module.{key}", tensor) for key, tensor in network.state_dict().items())
        torch.save(state, tmp_path / f"{files[name]}.pth")
    load_official_folder(subject.networks, tmp_path, 600)
    for name, network in published.items():
        other = subject.networks[name].state_dict()
        assert all(torch.equal(tensor, other[key]) for key, tensor in network.state_dict().items()), name
    with pytest.raises(UserError, match="does not fit"):
        load_official(subject.networks["generator"], tmp_path / "netMD.pth")
    with pytest.raises(UserError, match="does not exist"):
        load_official_folder(subject.networks, tmp_path, 550)


def test_an_encoder_that_is_absent_or_of_another_size_is_named(method, tmp_path):
    with pytest.raises(UserError, match="name that of its dataset in `encoders`"):
        method(encoders=None)
    with pytest.raises(UserError, match=r"none\.safetensors does not exist"):
        method(encoders=tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="embeddings of 8 numbers, and `speech_dim` is 16"):
        method(networks={"speech_dim": 16})


def test_it_is_built_by_its_name(tmp_path):
    file = spoken.encoder_file(tmp_path)
    subject = build_method("s2igan", {"networks": SIZES}, SIDE, 4, CPU, encoders=file)
    assert isinstance(subject, Method)
    with pytest.raises(RuntimeError, match="without images"):
        subject.training_step(0)
