"""The speech encoder beside a straightforward recurrence, at sizes of its own, and the matching loss by loops."""

import math

import pytest
import torch

from kdx2i.encoders.speech.losses import matching_losses
from kdx2i.encoders.speech.networks import SpeechNetwork, padded
from kdx2i.encoders.speech.settings import SpeechEncoderSizes


def gru(cell, x, suffix):
    """One direction of one layer, time step by time step: x (T, D) -> (T, H)."""
    w, u, b, v = (
        getattr(cell, f"{name}_{suffix}").double() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    hidden, states = torch.zeros(u.shape[1], dtype=torch.float64), []
    for step in x:
        a, c = (w @ step + b).chunk(3), (u @ hidden + v).chunk(3)
        reset, update = torch.sigmoid(a[0] + c[0]), torch.sigmoid(a[1] + c[1])
        hidden = (1 - update) * torch.tanh(a[2] + reset * c[2]) + update * hidden
        states.append(hidden)
    return torch.stack(states)


def layer(cell, x, number):
    forwards = gru(cell, x, f"l{number}")
    backwards = gru(cell, x.flip(0), f"l{number}_reverse").flip(0)
    return torch.cat([forwards, backwards], 1)


def convolve(convolution, norm, x):
    """x (C, T) -> (C', (T - 4) // 2): the sum over kernel and channels, then the running statistics."""
    w, b = convolution.weight.double(), convolution.bias.double()
    steps = range(0, x.shape[1] - 5, 2)
    y = torch.stack([(w * x[None, :, s : s + 6]).sum((1, 2)) + b for s in steps], 1)
    scale = norm.weight.double() / (norm.running_var.double() + 1e-5).sqrt()
    return (y - norm.running_mean.double()[:, None]) * scale[:, None] + norm.bias.double()[:, None]


def straightforward(network, features):
    x = convolve(network.Conv1, network.bnorm1, features.double().T)
    x = convolve(network.Conv2, network.bnorm2, x).T
    states = layer(network.rnn, layer(network.rnn, x, 0), 1)
    head = network.att.att_heads[0]
    hidden = torch.tanh(states @ head.hidden.weight.double().T + head.hidden.bias.double())
    scores = hidden @ head.out.weight.double().T + head.out.bias.double()
    weights = scores.exp() / scores.exp().sum(0)
    summed = (weights * states).sum(0)
    return summed / summed.norm()


@pytest.mark.parametrize(("first", "second", "hidden", "attention"), [(5, 9, 3, 4), (16, 6, 11, 2)])
def test_an_embedding_is_what_the_formulas_say(first, second, hidden, attention):
    network = SpeechNetwork(SpeechEncoderSizes(first=first, second=second, hidden=hidden, attention=attention)).eval()
    for norm in (network.bnorm1, network.bnorm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    features = torch.randn(37, 40)
    with torch.no_grad():
        own = network(features[None], torch.tensor([37]))[0]
        torch.testing.assert_close(own.double(), straightforward(network, features), atol=1e-5, rtol=1e-4)


def test_an_order_of_lengths_makes_no_difference():
    network = SpeechNetwork(SpeechEncoderSizes(first=4, second=4, hidden=3, attention=2)).eval()
    utterances = [torch.randn(length, 40) for length in (20, 41, 16)]
    with torch.no_grad():
        rising = network(*padded(utterances))
        falling = network(*padded([utterances[number] for number in (1, 0, 2)]))
    torch.testing.assert_close(rising, falling[[1, 0, 2]])


def test_the_matching_loss_is_its_formula():
    images, speech, classes = torch.randn(5, 6), torch.randn(5, 6), [0, 1, 0, 2, 1]
    similarity = [[10 * float(i @ s / (i.norm() * s.norm())) for s in speech] for i in images]

    def cross_entropy(matrix):
        total = 0.0
        for row in range(5):
            rivals = [col for col in range(5) if col == row or classes[col] != classes[row]]
            total -= matrix[row][row] - math.log(sum(math.exp(matrix[row][col]) for col in rivals))
        return total / 5

    own = matching_losses(images, speech, torch.tensor(classes), 10.0)
    turned = [[similarity[row][col] for row in range(5)] for col in range(5)]
    assert [float(loss) for loss in own] == pytest.approx([cross_entropy(similarity), cross_entropy(turned)], rel=1e-5)
