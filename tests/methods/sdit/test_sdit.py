"""SDIT: its objectives against their definitions, and that it learns one small batch."""

import pytest
import tiny
import torch
import torch.nn.functional as F

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.sdit.losses import Weights, discriminator_loss, generator_loss, gradient_penalty
from kdx2i.methods.sdit.method import Method
from kdx2i.methods.sdit.settings import Settings
from kdx2i.training.loop import update_averages
from kdx2i.training.sampling import BalancedImages

SIZE, CLASSES = 16, 3


def discriminate(x):
    """Stand-in: patch logits are 2 x pixels of a corner, domains the colour means, the style all twos."""
    return 2 * x[:, :1, :2, :2], x.mean((2, 3)), torch.full((len(x), 8), 2.0)


def generate(x, domain, style):
    return x + domain.argmax(1).reshape(-1, 1, 1, 1) + style.mean()


def test_the_gradient_of_the_summed_patches_is_held_at_one():
    real, fake = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    # Four pixels with gradient 2: norm 4, penalty (4 - 1)^2.
    assert gradient_penalty(discriminate, real, fake, torch.full((2, 1, 1, 1), 0.5)).item() == 9.0


def test_discriminator_objective():
    real, fake = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), -1.0)
    labels = torch.tensor([0, 2])
    terms = discriminator_loss(discriminate, real, labels, fake, torch.rand(2, 1, 1, 1), Weights(cls=3.0, gp=10.0))
    assert terms["real"].item() == -1.0
    assert terms["fake"].item() == -2.0
    torch.testing.assert_close(terms["cls"], F.cross_entropy(torch.full((2, 3), 0.5), labels))
    torch.testing.assert_close(terms["total"], -1.0 - 2.0 + 3.0 * terms["cls"] + 90.0)


def test_generator_objective_goes_back_with_a_fresh_style():
    x = torch.zeros(2, 3, 4, 4)
    source, target = F.one_hot(torch.tensor([0, 0]), 3).float(), F.one_hot(torch.tensor([1, 1]), 3).float()
    styles = torch.full((2, 8), 0.5), torch.full((2, 8), 0.25)
    terms = generator_loss(
        generate, discriminate, x, (source, target), torch.tensor([1, 1]), styles, Weights(rec=10, noise=800)
    )
    assert terms["adv"].item() == -3.0  # the fake is 1.5 everywhere
    assert terms["rec"].item() == 1.75
    assert terms["noise"].item() == 1.5
    torch.testing.assert_close(terms["total"], -3.0 + terms["cls"] + 17.5 + 1200.0)


def method(**train):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (6, 3, 2, 2), dtype=torch.uint8, generator=generator)
    images = coarse.repeat_interleave(SIZE // 2, 2).repeat_interleave(SIZE // 2, 3)
    sampler = BalancedImages(lambda index: images[index], torch.arange(6) % CLASSES, CLASSES, torch.device("cpu"))
    networks = {"width": 8, "encoder_blocks": 1, "adain_blocks": 2, "mlp_dim": 16}
    torch.manual_seed(1)
    settings = Settings(networks=networks, train={"batch": 6, "learning_rate": 2e-3, **train})
    return Method(MethodSetup(settings, SIZE, CLASSES, torch.device("cpu"), sampler))


def test_it_learns_one_small_batch():
    subject = method(critic_updates=1, lambda_noise=1.0)
    results = []
    for step in range(40):
        torch.manual_seed(step)
        results.append(subject.training_step(step)["g_rec"].item())
    assert sum(results[-5:]) < 0.8 * sum(results[:5])


def test_the_generator_moves_at_every_fifth_step_and_the_regressor_never():
    subject = method()
    moved = []
    for step in range(5):
        before = [p.clone() for p in subject.networks["generator"].parameters()]
        regressor = [p.clone() for name, p in subject.networks["discriminator"].named_parameters() if "mlp" in name]
        torch.manual_seed(step)
        subject.training_step(step)
        moved.append(
            any(not torch.equal(a, b) for a, b in zip(before, subject.networks["generator"].parameters(), strict=True))
        )
        after = [p for name, p in subject.networks["discriminator"].named_parameters() if "mlp" in name]
        assert all(torch.equal(a, b) for a, b in zip(regressor, after, strict=True))
    assert moved == [False, False, False, False, True]


@pytest.mark.parametrize("cycle_style", ["redrawn", "same"])
def test_the_way_back_has_the_style_that_the_setting_says(monkeypatch, cycle_style):
    used = []

    def recorded(generate, discriminate, x, domains, targets, styles, weights):
        used.append(styles)
        return generator_loss(generate, discriminate, x, domains, targets, styles, weights)

    monkeypatch.setattr("kdx2i.methods.sdit.method.generator_loss", recorded)
    method(cycle_style=cycle_style, critic_updates=1).training_step(0)
    assert torch.equal(*used[0]) == (cycle_style == "same")


def test_translation_uses_each_images_own_statistics():
    subject = method()
    update_averages(subject, subject.ema_decay(0))
    x, y = torch.rand(4, 3, SIZE, SIZE) * 2 - 1, torch.tensor([0, 1, 2, 0])
    torch.manual_seed(3)
    together = tiny.translated(subject, x, y, "latent")
    torch.manual_seed(3)
    others = tiny.translated(subject, torch.cat([x[:1], -x[1:]]), y, "latent")
    assert together.shape == x.shape
    assert together.abs().max() <= 1
    torch.testing.assert_close(together[0], others[0])
    assert not torch.allclose(together[1], others[1])
