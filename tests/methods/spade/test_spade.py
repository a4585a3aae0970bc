"""SPADE in training: its objectives, what a step changes, resuming, learning one small batch, what is refused."""

import label_map_sets
import pytest
import tiny
import torch
from label_map_sets import CPU, LABELS, Pyramid
from pydantic import ValidationError

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.label_maps.blocks import settle
from kdx2i.methods.families.label_maps.discriminator import MultiscaleDiscriminator
from kdx2i.methods.families.label_maps.losses import adversarial_loss, feature_matching
from kdx2i.methods.families.label_maps.objectives import Weights, discriminator_loss, generator_loss
from kdx2i.methods.families.label_maps.perceptual import PerceptualLoss
from kdx2i.methods.spade.method import Method
from kdx2i.methods.spade.networks import Generator
from kdx2i.methods.spade.settings import Settings
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.teacher.official.state_dicts import load_official
from kdx2i.training.loop import LoopSettings, train, update_averages

SIZE = 32
NETWORKS = {"label_nc": len(LABELS), "ngf": 2, "hidden": 4, "ndf": 4}


def method(networks=None, images=True, pairs=4, resolution=SIZE, **changes):
    torch.manual_seed(1)
    settings = Settings(
        networks={**NETWORKS, **(networks or {})},
        train={"iterations": 40, "batch": 2, "lambda_vgg": 0.0, "load_scale": 1.0, **changes},
    )
    data = label_map_sets.paired(pairs, resolution) if images else None
    return Method(MethodSetup(settings, resolution, 1, CPU, data))


def step(subject, number=0):
    torch.manual_seed(number)
    return {name: value.item() for name, value in subject.training_step(number).items()}


def condition(count=2, side=SIZE, labels=LABELS, references=None):
    return LabelMapCondition(label_map_sets.maps(count, side, len(labels)), labels, references)


def test_objectives_have_the_official_terms_and_weights():
    torch.manual_seed(0)
    discriminator = MultiscaleDiscriminator(2 + 3, 4, layers=2).eval()
    maps, fake, real = torch.rand(2, 2, 32, 32), torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    code = torch.full((2, 3), 0.5), torch.zeros(2, 3)
    perceptual = PerceptualLoss(Pyramid(), (1.0, 1.0, 1.0))
    weights = Weights(feat=2.0, vgg=3.0, kld=0.5)
    terms = generator_loss(discriminator, maps, fake, real, weights=weights, perceptual=perceptual, code=code)
    of_fake, of_real = (discriminator.judge(maps, image) for image in (fake, real))
    torch.testing.assert_close(terms["adv"], adversarial_loss(of_fake, real=True, for_discriminator=False))
    torch.testing.assert_close(terms["feat"], 2 * feature_matching(of_fake, of_real))
    torch.testing.assert_close(terms["vgg"], 3 * perceptual(fake, real))
    assert terms["kld"].item() == pytest.approx(0.5 * 0.5 * 6 * 0.25)
    torch.testing.assert_close(terms["total"], terms["adv"] + terms["feat"] + terms["vgg"] + terms["kld"])
    plain = generator_loss(discriminator, maps, fake, real, weights=Weights(feat=0, vgg=0), perceptual=perceptual)
    assert set(plain) == {"adv", "total"}

    terms = discriminator_loss(discriminator, maps, fake.requires_grad_(), real)
    torch.testing.assert_close(terms["fake"], adversarial_loss(of_fake, real=False, for_discriminator=True))
    torch.testing.assert_close(terms["real"], adversarial_loss(of_real, real=True, for_discriminator=True))
    terms["total"].backward()
    assert fake.grad is None


def test_a_step_moves_both_networks_and_the_average_follows_at_once():
    subject = method()
    before = tiny.state_of(subject.networks)
    scalars = step(subject)
    assert set(scalars) == {"g_adv", "g_feat", "d_fake", "d_real"}
    moved = tiny.changed(before, tiny.state_of(subject.networks))
    assert {f"{name}.{key}" for name, net in subject.networks.items() for key, _ in net.named_parameters()} <= moved
    update_averages(subject, subject.ema_decay(0))
    assert not tiny.changed(
        tiny.state_of({"g": subject.averages["generator"]}), tiny.state_of({"g": subject.networks["generator"]})
    )
    # Each network has its own rate and Adam's betas of TTUR.
    groups = [subject.optimizers[name].param_groups[0] for name in ("generator", "discriminator")]
    assert [group["lr"] for group in groups] == [1e-4, 4e-4]
    assert [group["betas"] for group in groups] == [(0.0, 0.9)] * 2


def test_rates_fall_to_zero_in_the_last_iterations():
    subject = method(iterations=10, decay_iterations=4, ttur=False)
    rates = []
    for number in range(10):
        subject._set_rates(number)
        rates.append(subject.optimizers["discriminator"].param_groups[0]["lr"] / 2e-4)
    assert rates == pytest.approx([1.0] * 7 + [0.75, 0.5, 0.25])
    assert subject.optimizers["generator"].param_groups[0]["betas"] == (0.5, 0.999)


def test_images_follow_the_map_and_nothing_else():
    subject = method()
    given = condition()
    first, again = subject.generate(given), subject.generate(given)
    assert torch.equal(first, again)
    assert first.shape == (2, 3, SIZE, SIZE)
    alone = subject.generate(LabelMapCondition(given.maps[:1], LABELS))
    torch.testing.assert_close(alone, first[:1])
    assert not torch.equal(first[0], first[1])
    assert first.abs().max() < 0.5  # the official start is small, and nothing explodes before the first update


def test_features_take_the_first_feature_and_a_pseudo_condition():
    torch.manual_seed(0)
    generator = Generator(2, 3, 64, hidden=4).eval()
    settle(generator)
    pseudo = torch.tensor([[1.0, 1.0, 1.0]])
    image, features = generator.synthesise(pseudo)
    assert {size: feature.shape[1] for size, feature in features.items()} == {2: 32, 4: 32, 8: 16, 16: 8, 32: 4, 64: 2}
    torch.testing.assert_close(image, generator(torch.ones(1, 3, 64, 64)))
    first = torch.rand(1, 16, 8, 8)
    changed, others = generator.synthesise(pseudo, first=first)
    torch.testing.assert_close(others[8] - features[8], first, atol=1e-4, rtol=0)
    assert torch.equal(others[4], features[4])
    assert not torch.allclose(changed, image)


def test_it_learns_one_small_batch():
    subject = method(learning_rate=4e-3, lambda_vgg=10.0, lambda_feat=1.0, pairs=2, flip=0.0, batch=2)
    subject.perceptual = PerceptualLoss(Pyramid(), (1.0, 1.0, 1.0))
    losses = [step(subject, number)["g_vgg"] for number in range(30)]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_a_training_that_was_cut_ends_in_the_same_bytes(tmp_path):
    def finish(folder, *stops):
        for iterations in stops:
            subject = method(iterations=2)
            train(subject, LoopSettings(iterations, 3, 1, 2, 1), tmp_path / folder, "spade")
        return tiny.outcome(tmp_path / folder)

    assert finish("whole", 2) == finish("cut", 1, 2)


def test_with_the_encoder_the_code_is_drawn_from_the_image():
    networks = {"use_vae": True, "ngf": 1, "hidden": 2, "ndf": 2}
    subject = method(networks, resolution=256, pairs=2, batch=1)
    before = tiny.state_of({"encoder": subject.networks["encoder"]})
    assert "g_kld" in step(subject)
    assert tiny.changed(before, tiny.state_of({"encoder": subject.networks["encoder"]}))
    torch.manual_seed(0)
    first = subject.generate(condition(1, 256))
    assert not torch.equal(first, subject.generate(condition(1, 256)))


def test_official_checkpoints_load(tmp_path):
    torch.manual_seed(0)
    state = Generator(2, 4, SIZE, hidden=4).state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "latest_net_G.pth")
    subject = method()
    load_official(subject.networks["generator"], tmp_path / "latest_net_G.pth")
    assert not tiny.changed(
        tiny.state_of({"g": subject.networks["generator"]}), {f"g.{k}": v for k, v in state.items()}
    )


def test_conditions_that_do_not_fit_are_refused():
    subject = method(images=False)
    with pytest.raises(UserError, match=r"spade is set to 4 labels \(`label_nc`\), and the label maps have 2"):
        subject.generate(condition(labels=("a", "b")))
    with pytest.raises(UserError, match="spade has no mode `reference`, but only `map`"):
        subject.generate(condition(references=torch.zeros(2, 3, SIZE, SIZE)))
    with pytest.raises(UserError, match="spade has no distilled student"):
        subject.initialise({}, reset_encoders=False)


def test_sizes_without_official_networks_are_refused():
    with pytest.raises(UserError, match=r"`num_upsampling_layers: more` needs .* multiple of 64, not 32"):
        method({"num_upsampling_layers": "more"})
    with pytest.raises(UserError, match=r"`use_vae` needs 256 px or more and `z_dim: 256`"):
        method({"use_vae": True})
    with pytest.raises(ValidationError, match="square and odd"):
        Settings(networks={"norm_g": "spadebatch3x5"})
    with pytest.raises(ValidationError, match=r"`decay_iterations` \(9\) are the last ones of `iterations` \(5\)"):
        Settings(train={"iterations": 5, "decay_iterations": 9})


def test_weights_of_the_perceptual_loss_are_asked_for_when_training_begins(monkeypatch, tmp_path):
    monkeypatch.setenv("KDX2I_VGG19_WEIGHTS", str(tmp_path / "none.pth"))
    subject = method(lambda_vgg=10.0)
    subject.generate(condition())
    with pytest.raises(UserError, match="weights of VGG19 are not at"):
        step(subject)
