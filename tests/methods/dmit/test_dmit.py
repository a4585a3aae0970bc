"""DMIT: its objectives against their definitions, and that it learns one small batch."""

from itertools import pairwise

import tiny
import torch

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.dmit import losses
from kdx2i.methods.dmit.method import Method
from kdx2i.methods.dmit.settings import Settings
from kdx2i.training.loop import update_averages
from kdx2i.training.sampling import BalancedImages

SIZE, CLASSES = 32, 3


def discriminate(x, domain):
    """Stand-in with two scales: the mean of the image plus the domain's number, and twice that."""
    logits = x.mean((1, 2, 3)) + domain.argmax(1)
    return logits, 2 * logits


def one_hot(*labels):
    return torch.nn.functional.one_hot(torch.tensor(labels), CLASSES).float()


def test_image_discriminator_counts_wrong_domains_and_fakes_by_half():
    x, fake = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), -0.5)
    # Real logits 0, 0: 2; wrong domain 1, 2: 2 + 3; fake 0.5, 1: 1.5 + 2.
    assert losses.image_discriminator_loss(discriminate, x, one_hot(0), one_hot(1), fake).item() == 2 + 0.5 * (5 + 3.5)
    assert losses.image_generator_loss(discriminate, fake, one_hot(1)).item() == -1.5


def test_content_objectives_are_least_squares():
    content = torch.zeros(2, 4, 2, 2)
    # Own domain 0 (logits 0 and 0, wanted 1), other domain 1 (1 and 2, wanted 0).
    own, other = one_hot(0, 0), one_hot(1, 1)
    assert losses.content_discriminator_loss(discriminate, content, own, other).item() == 2 + 5
    assert losses.content_generator_loss(discriminate, content, other).item() == 0 + 1


def test_divergence_is_a_sum():
    mean, log_variance = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2)
    assert losses.kl_divergence(mean, log_variance).item() == 2.5
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(torch.tensor(0.3), torch.tensor(0.5)), torch.distributions.Normal(0.0, 1.0)
    )
    results = losses.kl_divergence(torch.tensor([[0.3]]), torch.tensor([[0.25]]).log())
    torch.testing.assert_close(results, exact)


def method(**train):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (6, 3, 2, 2), dtype=torch.uint8, generator=generator)
    images = coarse.repeat_interleave(SIZE // 2, 2).repeat_interleave(SIZE // 2, 3)
    sampler = BalancedImages(lambda index: images[index], torch.arange(6) % CLASSES, CLASSES, torch.device("cpu"))
    networks = {"width": 8, "encoder_blocks": 1, "style_blocks": 2, "decoder_blocks": 2}
    torch.manual_seed(1)
    settings = Settings(
        networks={**networks, "image_discriminator_blocks": 2},
        train={"batch": 6, "learning_rate": 2e-3, "crop_probability": 0.0, **train},
    )
    return Method(MethodSetup(settings, SIZE, CLASSES, torch.device("cpu"), sampler))


def test_it_learns_one_small_batch():
    subject, results = method(), []
    for step in range(30):
        torch.manual_seed(step)
        results.append(subject.training_step(step)["rec"].item())
    assert sum(results[-3:]) < 0.7 * sum(results[:3])


def test_every_network_is_trained():
    subject = method()
    before = {name: [p.clone() for p in net.parameters()] for name, net in subject.networks.items()}
    torch.manual_seed(0)
    subject.training_step(0)
    for name, network in subject.networks.items():
        assert any(not torch.equal(a, b) for a, b in zip(before[name], network.parameters(), strict=True)), name


def test_translation_follows_the_reference():
    subject = method()
    torch.manual_seed(0)
    subject.training_step(0)
    update_averages(subject, subject.ema_decay(0))
    x, y = torch.rand(2, 3, SIZE, SIZE) * 2 - 1, torch.tensor([0, 1])
    first = tiny.translated(subject, x, y, "reference", x)
    torch.testing.assert_close(first, tiny.translated(subject, x, y, "reference", x))
    assert not torch.equal(first, tiny.translated(subject, x, y, "reference", -x))
    assert first.shape == x.shape
    assert first.abs().max() <= 1


def test_the_rate_falls_after_its_plateau():
    subject = method(iterations=10)
    rates = []
    for step in range(10):
        subject.training_step(step)
        rates.append(subject.optimizers["decoder"].param_groups[0]["lr"])
    assert rates[:6] == [2e-3] * 6
    assert all(a > b > 0 for a, b in pairwise(rates[5:]))
