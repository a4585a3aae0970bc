"""CoCosNet v2: its objectives against loop-written float64 formulas and numbers that can be checked by hand."""

import math

import pytest
import torch

from kdx2i.methods.cocosnet_v2 import losses


def contextual_by_loops(x, y, bandwidth, over_channels):
    """The printed formula, one number at a time."""
    results = []
    for one, other in zip(x.double(), y.double(), strict=True):
        mean = other.mean(0, keepdim=True) if over_channels else other.mean((1, 2), keepdim=True)
        a, b = ((part - mean).flatten(1).T for part in (one, other))
        a, b = ([v / (math.sqrt(sum(v * v)) + 1e-10) for v in part] for part in (a, b))
        best = []
        for u in a:
            distances = [1 - float(sum(u * v)) for v in b]
            w = [math.exp((1 - d / (min(distances) + 1e-3)) / bandwidth) for d in distances]
            best.append(max(w) / sum(w))
        results.append(-math.log(sum(best) / len(best)))
    return results


@pytest.mark.parametrize("over_channels", [True, False])
def test_contextual_loss(over_channels):
    x, y = torch.randn(2, 2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    own = losses.contextual_loss(x.double(), y.double(), 0.3, over_channels=over_channels)
    assert own.tolist() == pytest.approx(contextual_by_loops(x, y, 0.3, over_channels), rel=1e-9)


def test_contextual_levels_weigh_8_4_and_2():
    generator = torch.Generator().manual_seed(1)
    fake, exemplar = ([torch.randn(2, 4, s, s, generator=generator) for s in (16, 8, 8, 4, 2)] for _ in range(2))

    def at(level):
        return losses.contextual_loss(fake[level], exemplar[level]).mean()

    halved = [torch.nn.functional.avg_pool2d(part[2], 2) for part in (fake, exemplar)]
    expected = 8 * at(4) + 4 * at(3) + 2 * losses.contextual_loss(*halved).mean()
    torch.testing.assert_close(losses.contextual(fake, exemplar), expected)


def test_only_samples_that_are_their_own_exemplar_count():
    weights = losses.sample_weights(torch.tensor([1.0, 0.0, 1.0]))
    assert weights.flatten().tolist() == pytest.approx([0.5, 0.0, 0.5], rel=1e-4)
    assert losses.sample_weights(torch.zeros(3)).sum() == 0
    x = torch.zeros(3, 2, 4, 4)
    y = torch.stack([torch.full((2, 4, 4), value) for value in (1.0, 100.0, 3.0)])
    # (1 / 2 + 3 / 2) / 3 samples.
    assert losses.weighted_l1(x, y, weights).item() == pytest.approx(2 / 3, rel=1e-4)
    features = [torch.full((3, 1, 2, 2), float(2**level)) for level in (5, 4, 3, 2, 0)]
    zeros = [torch.zeros_like(part) for part in features]
    # Each level's weight undoes its value: five times 1, of weights that sum to 1 over 3 samples.
    assert losses.self_features(features, zeros, weights).item() == pytest.approx(5 / 3, rel=1e-4)


def test_warps_are_compared_with_the_averaged_image():
    real = torch.rand(2, 3, 16, 16)
    shrunk = [torch.nn.functional.avg_pool2d(real, factor) for factor in (8, 4, 2, 1)]
    weights = losses.sample_weights(torch.ones(2))
    assert losses.warp_self(shrunk, real, weights).item() == pytest.approx(0, abs=1e-6)
    moved = [warp + 0.1 * (level + 1) for level, warp in enumerate(shrunk)]
    assert losses.warp_self(moved, real, weights).item() == pytest.approx(1.0 / 2, rel=1e-4)
    assert losses.warp_cycle(shrunk[0] - 0.25, real).item() == pytest.approx(0.25, rel=1e-5)


def test_hinges_and_discriminator_features():
    # Two scales of two layers and logits.
    def judgement(first, second, logits):
        layers = [torch.full((1, 2, 2, 2), value) for value in (first, second)]
        return [[*layers, torch.full((1, 1, 2, 2), value)] for value in logits]

    fake, real = judgement(1.0, 2.0, (0.5, -3.0)), judgement(1.5, 4.0, (0.25, 2.0))
    assert losses.hinge_generator(fake).item() == pytest.approx((-0.5 + 3.0) / 2)
    on_fake, on_real = losses.hinge_discriminator(fake, real)
    assert on_fake.item() == pytest.approx((1.5 + 0.0) / 2)
    assert on_real.item() == pytest.approx((0.75 + 0.0) / 2)
    assert losses.discriminator_features(fake, real).item() == pytest.approx(2.5)


def test_the_total_weighs_each_term_by_its_name():
    names = ("gan", "discriminator_features", "self_features", "contextual", "perceptual", "alignment")
    terms = {name: torch.tensor(1.0) for name in (*names, "warp_self", "warp_cycle")}
    assert losses.weighted_total(terms, losses.Weights()).item() == pytest.approx(10 + 10 + 10 + 10 + 0.001 + 10 + 501)
