"""The objectives of S2IGAN by hand, in float64 and in the form that the official code has them."""

import math

import torch

from kdx2i.methods.s2igan.losses import (
    GENERATED,
    Weights,
    discriminator_loss,
    generator_loss,
    kl_divergence,
    relation_loss,
)


def log_sigmoid(value):
    return -math.log1p(math.exp(-value))


class Judge:
    """Logits that tell what was asked: the first pixel plus the condition, and twice the first pixel."""

    def __init__(self):
        self.calls = []

    def __call__(self, images, condition):
        self.calls.append((images, condition))
        first = images[:, 0, 0, 0]
        return first + condition[:, 0], 2 * first


def images(*values):
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()


def test_the_discriminator_judges_three_batches_apart_and_a_wrong_image_is_real():
    judge, mu = Judge(), torch.tensor([[0.5], [-0.25]], requires_grad=True)
    real, wrong, fake = images(1.0, 2.0), images(-1.0, 0.5), images(0.1, -0.3).requires_grad_()
    terms = discriminator_loss(judge, real, wrong, fake, mu, unconditional=3.0)

    def mean(values, sign):
        return -sum(log_sigmoid(sign * value) for value in values) / len(values)

    expected = {
        "real": mean((1.5, 1.75), 1) + 3 * mean((2.0, 4.0), 1),
        "wrong": mean((-0.5, 0.25), -1) + 3 * mean((-2.0, 1.0), 1),
        "fake": mean((0.6, -0.55), -1) + 3 * mean((0.2, -0.6), -1),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].item(), value, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["total"].item(), sum(expected.values()), rtol=1e-5, atol=0)
    assert len(judge.calls) == 3 and not any(i.requires_grad or c.requires_grad for i, c in judge.calls)


def test_the_generator_is_judged_at_each_size_and_its_condition_learns():
    judges = [Judge(), Judge()]
    fakes = [images(0.4, -0.6).requires_grad_() for _ in judges]
    mu, logvar = torch.tensor([[0.5], [-1.0]], requires_grad=True), torch.tensor([[0.2], [-0.4]])
    related = torch.tensor([[0.0, 1.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]])
    terms = generator_loss(judges, fakes, mu, logvar, Weights(2.0, 5.0, 7.0), related)
    fits = sum(-log_sigmoid(value) for value in (0.9, -1.6)) / 2
    whole = sum(-log_sigmoid(value) for value in (0.8, -1.2)) / 2
    adversarial = 2 * (fits + 2.0 * whole)
    relation = sum(math.log(sum(map(math.exp, row))) - row[1] for row in ((0.0, 1.0, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0)))
    pairs = ((0.5, 0.2), (-1.0, -0.4))
    kl = -0.5 * sum(1 + v - m * m - math.exp(v) for m, v in pairs) / 2
    torch.testing.assert_close(terms["adversarial"].item(), adversarial, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["relation"].item(), relation / 2, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["kl"].item(), kl, rtol=1e-5, atol=0)
    torch.testing.assert_close(terms["total"].item(), adversarial + 5 * relation / 2 + 7 * kl, rtol=1e-5, atol=0)
    torch.testing.assert_close(kl_divergence(mu, logvar).item(), kl, rtol=1e-5, atol=0)
    (without_kl,) = torch.autograd.grad(terms["adversarial"], mu)
    assert bool((without_kl != 0).all())


def test_the_relation_supervisor_is_asked_about_four_pairs():
    asked = []

    def relate(first, second):
        asked.append((float(first[0, 0]), float(second[0, 0])))
        return torch.stack([second[:, 0], 2 * second[:, 0], first[:, 0], -second[:, 0]], 1)

    real, similar, fake, wrong = (torch.full((2, 1), value) for value in (1.0, 2.0, 3.0, 4.0))

    def term(other, label):
        row = (other, 2 * other, 1.0, -other)
        return math.log(sum(map(math.exp, row))) - row[label]

    coded = relation_loss(relate, real, similar, fake, wrong)
    assert asked == [(1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 4.0)]
    expected = term(1.0, 0) + term(2.0, 1) + term(3.0, 1) + term(4.0, 2)
    torch.testing.assert_close(coded.item(), expected, rtol=1e-5, atol=0)
    apart = relation_loss(relate, real, similar, fake, wrong, GENERATED)
    torch.testing.assert_close(apart.item(), expected - term(3.0, 1) + term(3.0, 3), rtol=1e-5, atol=0)
