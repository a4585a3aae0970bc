"""OASIS: its objectives against loops over pixels, training, the average's statistics, what is refused."""

import math

import label_map_sets
import pytest
import tiny
import torch
import torch.nn.functional as F
from label_map_sets import CPU, LABELS, Pyramid

from kdx2i.errors import UserError
from kdx2i.methods.base import MethodSetup
from kdx2i.methods.families.label_maps.perceptual import PerceptualLoss
from kdx2i.methods.oasis.losses import (
    Balance,
    class_weights,
    discriminator_loss,
    fake_loss,
    generator_loss,
    labelmix_loss,
    labelmix_mask,
    mixed_image,
    real_loss,
)
from kdx2i.methods.oasis.method import Method
from kdx2i.methods.oasis.networks import Discriminator
from kdx2i.methods.oasis.settings import Settings
from kdx2i.tasks.conditions import LabelMapCondition
from kdx2i.teacher.official.state_dicts import load_official
from kdx2i.training.loop import LoopSettings, train, update_averages

SIZE = 64
NETWORKS = {"label_nc": len(LABELS), "channels_g": 1, "z_dim": 3, "hidden": 4, "channels_d": (4, 4, 4, 4, 4, 4)}


def method(networks=None, images=True, pairs=4, **changes):
    torch.manual_seed(1)
    settings = Settings(
        networks={**NETWORKS, **(networks or {})},
        train={"iterations": 40, "batch": 2, "load_scale": 1.0, "statistics_batches": 2, **changes},
    )
    return Method(MethodSetup(settings, SIZE, 1, CPU, label_map_sets.paired(pairs, SIZE) if images else None))


def step(subject, number=0):
    torch.manual_seed(number)
    return {name: value.item() for name, value in subject.training_step(number).items()}


def drawn(classes=3, seed=0):
    """Return a map in which the last class does not occur, as labels and one-hot, and logits, in float64."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes - 1, (2, 4, 4), generator=generator)
    labels[0] = 0
    logits = torch.randn(2, classes + 1, 4, 4, generator=generator, dtype=torch.float64)
    return labels, F.one_hot(labels, classes).permute(0, 3, 1, 2).double(), logits


@pytest.mark.parametrize(("balanced", "dont_care"), [(True, False), (True, True), (False, False)])
def test_pixels_are_weighed_by_how_rare_their_class_is(balanced, dont_care):
    labels, maps, logits = drawn()
    counts = [sum(int(v == c) for v in labels.flatten().tolist()) for c in range(3)]
    present = [c for c in range(3) if counts[c] and not (dont_care and c == 0)]
    total = 0.0
    for b in range(2):
        for y in range(4):
            for x in range(4):
                c = int(labels[b, y, x])
                pixel = logits[b, :, y, x]
                loss = -pixel[c + 1] + torch.logsumexp(pixel, 0)
                share = labels.numel() / (len(present) * counts[c]) if c in present else 0.0
                total += (share if balanced else 1.0) * loss.item()
    own = real_loss(logits, maps, Balance(balanced, dont_care))
    assert own.item() == pytest.approx(total / labels.numel(), rel=1e-12)
    # Balanced weights have the mean 1.
    assert class_weights(maps, Balance(balanced, dont_care)).mean().item() == pytest.approx(1.0)


def test_fakes_belong_to_class_zero_everywhere():
    _, _, logits = drawn()
    wanted = (torch.logsumexp(logits, 1) - logits[:, 0]).mean()
    torch.testing.assert_close(fake_loss(logits), wanted)


@pytest.mark.parametrize("coins", [[0, 0, 1], [0, 1, 0], [1, 0, 1], [1, 1, 0]])
def test_labelmix_draws_class_after_class_as_the_official_code(coins):
    labels, maps, _ = drawn(seed=3)
    assert {0, 1} <= set(labels.flatten().tolist())
    written = labels.clone()
    for c in labels.unique().tolist():
        written[written == c] = coins[c]
    mask = labelmix_mask(maps, torch.tensor(coins))
    assert torch.equal(mask[:, 0], written.float())
    own = labelmix_mask(maps, torch.tensor(coins), independent=True)
    assert torch.equal(own[:, 0], torch.tensor(coins)[labels].float())


def test_class_zero_keeps_its_coin_where_class_one_is_absent():
    maps = F.one_hot(torch.zeros(1, 2, 2, dtype=torch.int64), 3).permute(0, 3, 1, 2)
    assert (labelmix_mask(maps, torch.tensor([1, 0, 0])) == 1).all()


def test_objectives_have_the_official_terms():
    torch.manual_seed(0)
    judge = Discriminator(3, channels=(3, 2, 2, 2, 2, 2, 2)).eval()
    labels = torch.randint(0, 3, (1, SIZE, SIZE))
    maps = F.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    fake, real = torch.rand(1, 3, SIZE, SIZE, requires_grad=True), torch.rand(1, 3, SIZE, SIZE)
    mask, balance = labelmix_mask(maps, torch.tensor([0, 1, 1])), Balance()
    terms = discriminator_loss(judge, maps, fake, real, balance=balance, mask=mask, lambda_labelmix=7.0)
    torch.testing.assert_close(terms["fake"], fake_loss(judge(fake)))
    torch.testing.assert_close(terms["real"], real_loss(judge(real), maps, balance))
    mixed = judge(mixed_image(mask, real, fake))
    torch.testing.assert_close(terms["labelmix"], 7 * labelmix_loss(mask, mixed, judge(fake), judge(real)))
    wanted = (mixed - mask * judge(real) - (1 - mask) * judge(fake)).square().mean()
    torch.testing.assert_close(labelmix_loss(mask, mixed, judge(fake), judge(real)), wanted)
    torch.testing.assert_close(terms["total"], terms["fake"] + terms["real"] + terms["labelmix"])
    terms["total"].backward()
    assert fake.grad is None
    assert set(discriminator_loss(judge, maps, fake, real, balance=balance)) == {"fake", "real", "total"}

    def distance(x, y):
        return (x - y).abs().mean()

    terms = generator_loss(judge, maps, fake, real, balance=balance, perceptual=distance, lambda_vgg=2.0)
    torch.testing.assert_close(terms["adv"], real_loss(judge(fake), maps, balance))
    torch.testing.assert_close(terms["total"], terms["adv"] + 2 * distance(fake, real))


def test_a_step_moves_both_networks_and_the_average_lags():
    subject = method(ema_decay=0.75)
    before, start = tiny.state_of(subject.networks), tiny.state_of(subject.averages)
    assert set(step(subject)) == {"g_adv", "d_fake", "d_real", "d_labelmix"}
    moved = tiny.changed(before, tiny.state_of(subject.networks))
    assert {f"{name}.{key}" for name, net in subject.networks.items() for key, _ in net.named_parameters()} <= moved
    update_averages(subject, subject.ema_decay(0))
    name = "generator.body.3.conv_0.weight_orig"
    wanted = 0.75 * start[name] + 0.25 * tiny.state_of(subject.networks)[name]
    torch.testing.assert_close(tiny.state_of(subject.averages)[name], wanted)
    assert "d_labelmix" not in step(method(labelmix="off"))


def test_it_learns_one_small_batch():
    subject = method(pairs=2, flip=0.0, generator_rate=4e-3, discriminator_rate=2e-2, add_vgg_loss=True)
    subject.perceptual = PerceptualLoss(Pyramid(), (1.0, 1.0, 1.0))
    scalars = [step(subject, number) for number in range(20)]
    judged = [s["d_real"] + s["d_fake"] for s in scalars]
    assert judged[0] == pytest.approx(2 * math.log(len(LABELS) + 1), rel=0.05)
    assert sum(judged[-3:]) < 0.8 * sum(judged[:3])
    assert sum(s["g_vgg"] for s in scalars[-3:]) < 0.8 * sum(s["g_vgg"] for s in scalars[:3])


def test_noise_changes_images_and_is_drawn_for_each():
    subject = method()
    given = LabelMapCondition(label_map_sets.maps(1, SIZE).expand(2, -1, -1), LABELS)
    with torch.no_grad():  # Weights of the official start are too small for a difference to be seen.
        for parameter in subject.averages["generator"].parameters():
            parameter.mul_(20)
    images = subject.generate(given)
    assert images.shape == (2, 3, SIZE, SIZE)
    assert not torch.allclose(images[0], images[1], atol=1e-4)
    silent = method({"no_3dnoise": True}).generate(given)
    assert torch.equal(silent[0], silent[1])


def test_features_take_the_first_feature_and_a_pseudo_condition():
    generator = method().averages["generator"]
    pseudo, noise = torch.ones(1, len(LABELS)), torch.rand(1, 3)
    image, features = generator.synthesise(pseudo, noise)
    assert {size: f.shape[1] for size, f in features.items()} == {2: 16, 4: 16, 8: 8, 16: 4, 32: 2, 64: 1}
    torch.testing.assert_close(image, generator(torch.ones(1, len(LABELS), SIZE, SIZE), noise))
    first = torch.rand(1, 8, 8, 8)
    _, others = generator.synthesise(pseudo, noise, first)
    torch.testing.assert_close(others[8] - features[8], first, atol=1e-4, rtol=0)
    assert torch.equal(others[4], features[4])


def test_a_preview_refreshes_the_averages_statistics_and_nothing_else():
    subject = method(statistics_batches=20)
    for number in range(2):
        step(subject, number)
        update_averages(subject, subject.ema_decay(number))
    before = tiny.state_of(subject.averages)
    subject.preview()
    after = tiny.state_of(subject.averages)
    changed = tiny.changed(before, after)
    statistics = {name for name in before if name.endswith(("running_mean", "running_var", "tracked", "_u", "_v"))}
    assert changed <= statistics
    assert {name for name in statistics if name.endswith(("running_mean", "running_var", "tracked"))} <= changed
    subject.preview()
    assert tiny.changed(after, tiny.state_of(subject.averages))  # it goes on from where it was


def test_a_training_that_was_cut_ends_in_the_same_bytes(tmp_path):
    def finish(folder, *stops):
        for iterations in stops:
            subject = method(iterations=2)
            train(subject, LoopSettings(iterations, 3, 1, 2, 1), tmp_path / folder, "oasis")
        averages = tiny.state_of(subject.averages)
        return tiny.outcome(tmp_path / folder), averages

    whole, averages = finish("whole", 2)
    cut, others = finish("cut", 1, 2)
    assert whole == cut
    assert not tiny.changed(averages, others)


def test_unknown_pixels_are_channel_zero():
    subject = method({"dont_care": True})
    maps = torch.full((1, SIZE, SIZE), 255, dtype=torch.uint8)
    maps[:, 0] = 0
    one_hot = subject.one_hot(LabelMapCondition(maps, LABELS))
    assert one_hot.shape[1] == len(LABELS) + 1
    assert one_hot.argmax(1)[0, :2, 0].tolist() == [1, 0]


def test_official_checkpoints_load(tmp_path):
    torch.manual_seed(0)
    state = method().networks["discriminator"].state_dict()
    state = {name: torch.rand_like(t) for name, t in state.items()}
    torch.save(state, tmp_path / "best_D.pth")
    subject = method()
    load_official(subject.networks["discriminator"], tmp_path / "best_D.pth")
    assert not tiny.changed(
        {f"d.{k}": v for k, v in state.items()}, tiny.state_of({"d": subject.networks["discriminator"]})
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="oasis needs a resolution that is a multiple of 64, not 96"):
        Method(MethodSetup(Settings(networks=NETWORKS), 96, 1, CPU))
    subject = method(images=False)
    with pytest.raises(UserError, match=r"oasis is set to 4 labels"):
        subject.generate(LabelMapCondition(label_map_sets.maps(1, SIZE), ("a",)))
    with pytest.raises(UserError, match="oasis has no distilled student"):
        subject.initialise({}, reset_encoders=False)
