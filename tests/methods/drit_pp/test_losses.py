"""DRIT++: its objectives against their definitions."""

import math

import pytest
import torch

from kdx2i.methods.drit_pp import losses

CLASSES = 3
WEIGHTS = losses.Weights(cls=2.0, cls_generator=5.0, rec=10.0, content=0.5, kl=0.25, latent=10.0)


def discriminate(x):
    """Stand-in: patches are the first colour, domains the colour means."""
    return x[:, :1], x.mean((2, 3))


def one_hot(*labels):
    return torch.nn.functional.one_hot(torch.tensor(labels), CLASSES).float()


def constant(*values):
    """Images of one value each."""
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def entropy(logit, target):
    """Binary cross entropy of one logit."""
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def test_the_adversarial_loss_sums_images_and_averages_patches():
    logits = torch.tensor([[[[1.0, 3.0]]], [[[-2.0, 0.0]]]])
    real = (entropy(1, 1) + entropy(3, 1)) / 2 + (entropy(-2, 1) + entropy(0, 1)) / 2
    fake = (entropy(1, 0) + entropy(3, 0)) / 2 + (entropy(-2, 0) + entropy(0, 0)) / 2
    assert losses.adversarial(logits, 1.0).item() == pytest.approx(real)
    assert losses.adversarial(logits, 0.0).item() == pytest.approx(fake)


def test_discriminator_objective():
    x, fake = constant(0.5, 1.0), constant(-1.0, -2.0)
    gan = entropy(0.5, 1) + entropy(1, 1) + entropy(-1, 0) + entropy(-2, 0)
    cls = sum(entropy(v, 1) + 2 * entropy(v, 0) for v in (0.5, 1.0)) / 6
    results = losses.discriminator_loss(discriminate, x, one_hot(0, 2), fake, WEIGHTS)
    assert results.item() == pytest.approx(gan + 2 * cls)
    shared = losses.discriminator_loss(discriminate, x, one_hot(0, 2), fake, losses.Weights(cls=2.0, batch=4.0))
    assert shared.item() == pytest.approx(4 * gan + 2 * cls)


def test_divergence_is_a_sum_and_a_mean_square_without_variance():
    mean, log_variance = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2)
    assert losses.divergence(mean, log_variance).item() == 2.5
    assert losses.divergence(mean, log_variance, 2.0).item() == 5.0
    assert losses.divergence(mean, None, 2.0).item() == 1.25
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(torch.tensor(0.3), torch.tensor(0.5)), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(losses.divergence(torch.tensor([[0.3]]), torch.tensor([[0.25]]).log()), exact)


def made(**changes):
    """A forward pass of constants."""
    fields = {
        "content": torch.full((2, 4, 2, 2), 2.0),
        "mean": torch.ones(2, 8),
        "log_variance": torch.zeros(2, 8),
        "swapped": constant(1.0, -1.0),
        "reconstruction": constant(0.25, 0.25),
        "cycle": constant(0.5, 1.0),
        "prior": (constant(2.0, 0.0),),
        "regressed": torch.full((2, 8), 0.75),
    }
    return losses.Pass(**{**fields, **changes})


def generator_terms(a, b):
    """What two constant images of the domains 0 and 1 cost the generator."""
    cls = sum(entropy(v, 1) + 2 * entropy(v, 0) for v in (a, b)) / 6
    return entropy(a, 1) + entropy(b, 1) + 5 * cls


def test_joint_objective():
    terms = losses.joint_loss(discriminate, constant(0.0, 0.0), one_hot(0, 1), made(), WEIGHTS)
    assert (terms["rec"].item(), terms["cyc"].item()) == (0.25, 0.75)
    # Reconstructions 10 x 1, content 0.5 x 4, divergence 0.25 x 8.
    assert terms["total"].item() == pytest.approx(generator_terms(1.0, -1.0) + 10 + 2 + 2)


def test_latent_regression_counts_for_both_images_of_a_pair():
    z = torch.full((2, 8), 0.5)
    terms = losses.prior_loss(discriminate, one_hot(0, 1), (z,), made(), WEIGHTS)
    assert terms["latent"].item() == 0.25
    assert terms["total"].item() == pytest.approx(generator_terms(2.0, 0.0) + 2 * 10 * 0.25)


def test_mode_seeking_counts_both_directions():
    z = torch.full((2, 8), 0.5), torch.full((2, 8), 0.25)
    both = made(prior=(constant(2.0, 0.0), constant(1.0, 0.5)))
    plain = losses.prior_loss(discriminate, one_hot(0, 1), z[:1], made(), WEIGHTS)["total"].item()
    results = losses.prior_loss(discriminate, one_hot(0, 1), z, both, WEIGHTS)["total"].item()
    ratios = 1 / (1.0 / 0.25 + 1e-5) + 1 / (0.5 / 0.25 + 1e-5)
    assert results == pytest.approx(plain + generator_terms(1.0, 0.5) + ratios)
