"""Eqs. (6) to (8) against loops over the printed formulas, in double precision."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.distill.equations.x2i import (
    full_objective,
    mismatched_discriminator_loss,
    pair_alignment,
    semantic_diversity,
)

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)
NORMS = st.sampled_from(["mean", "positions", "sum"])


def norm1(a, b, norm):
    """||a - b||_1 of two batches of nested lists [B][C][H][W], element by element."""
    batch, channels, height, width = len(a), len(a[0]), len(a[0][0]), len(a[0][0][0])
    total = 0.0
    for i, c, h, w in itertools.product(range(batch), range(channels), range(height), range(width)):
        total += abs(a[i][c][h][w] - b[i][c][h][w])
    return total / {"mean": batch * channels * height * width, "positions": batch * height * width, "sum": batch}[norm]


@st.composite
def sides(draw):
    """Teacher's and student's features and images of x1 and of y, and alpha_l."""
    batch, seed, side = draw(st.integers(1, 3)), draw(st.integers(0, 1000)), draw(st.integers(1, 4))
    widths = draw(st.dictionaries(st.sampled_from([1, 2, 4]), st.integers(1, 4), min_size=1))
    alpha = {r: draw(st.floats(0, 10)) for r in widths}
    generator = torch.Generator().manual_seed(seed)

    def features():
        return {r: torch.randn(batch, c, r, r, generator=generator, dtype=torch.float64) for r, c in widths.items()}

    def image():
        return torch.rand(batch, 3, side, side, generator=generator, dtype=torch.float64) * 2 - 1

    return tuple((features(), features(), image(), image()) for _ in range(2)), alpha


@PROPERTY
@given(sides(), st.floats(0, 10), NORMS)
def test_eq_6_is_the_features_by_alpha_and_the_image_by_beta_of_both_images(drawn, beta, norm):
    (of_x, of_y), alpha = drawn
    features, images = pair_alignment(of_x, of_y, alpha, beta, norm)
    printed = 0.0
    for level, weight in alpha.items():
        printed += weight * norm1(of_x[0][level].tolist(), of_x[1][level].tolist(), norm)
    printed += beta * norm1(of_x[2].tolist(), of_x[3].tolist(), norm)
    for level, weight in alpha.items():
        printed += weight * norm1(of_y[0][level].tolist(), of_y[1][level].tolist(), norm)
    printed += beta * norm1(of_y[2].tolist(), of_y[3].tolist(), norm)
    assert float(features + images) == pytest.approx(printed)
    assert float(images) == pytest.approx(
        beta * sum(norm1(side[2].tolist(), side[3].tolist(), norm) for side in (of_x, of_y))
    )


def test_eq_6_counts_the_resolutions_of_alpha_only():
    features = {4: torch.ones(1, 1, 4, 4), 8: torch.ones(1, 1, 8, 8)}
    nothing = {r: torch.zeros_like(f) for r, f in features.items()}
    image = torch.zeros(1, 3, 8, 8)
    side = (features, nothing, image, image)
    assert float(pair_alignment(side, side, {8: 0.5}, 1.0, "mean")[0]) == 1.0


def drawn_image(noise, first, condition, weights):
    """A generator in loops: pixel (k, p) of sample i is sin of a weighted sum of z, the first feature and c."""
    images = []
    for z, f, c in zip(noise, first, condition, strict=True):
        channels = []
        for k in range(3):
            pixels = []
            for p in range(4):
                inner = sum(weights[k][j] * value for j, value in enumerate([*z, *c, f[p]]))
                pixels.append(math.sin(inner + p))
            channels.append([pixels[:2], pixels[2:]])
        images.append(channels)
    return images


@PROPERTY
@given(st.integers(1, 3), st.integers(0, 1000), NORMS)
def test_eq_7_is_each_of_its_three_lines(batch, seed, norm):
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).tolist()

    noise, c_x, c_y, first = numbers(batch, 2), numbers(batch, 3), numbers(batch, 3), numbers(batch, 4)
    first_of_mixed = [list(values) for values in first]  # identical, as section 3.3 notes
    weights = numbers(3, 6)
    x1, y = drawn_image(noise, first, c_x, weights), drawn_image(noise, first_of_mixed, c_y, weights)
    found = float(semantic_diversity(*(torch.tensor(image, dtype=torch.float64) for image in (x1, y)), norm))
    first_line = -norm1(x1, y, norm)
    second_line = -norm1(
        drawn_image(noise, first, c_x, weights), drawn_image(noise, first_of_mixed, c_y, weights), norm
    )
    third_line = -norm1(drawn_image(noise, first, c_x, weights), drawn_image(noise, first, c_y, weights), norm)
    assert found == pytest.approx(first_line)
    assert found == pytest.approx(second_line)
    assert found == pytest.approx(third_line)
    assert found < 0


def test_eq_7_pays_for_difference_and_its_gradient_moves_the_images_apart():
    x, y = torch.zeros(1, 3, 2, 2, requires_grad=True), torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    slopes = torch.autograd.grad(semantic_diversity(x, y, "sum"), (x, y))
    assert bool((slopes[0] == 1).all())  # descent lowers x ...
    assert bool((slopes[1] == -1).all())  # ... and raises y


@PROPERTY
@given(
    st.none() | st.floats(-5, 5),
    st.lists(st.floats(0, 5), min_size=2, max_size=2),
    st.none() | st.floats(-5, 0),
    st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10)),
)
def test_eq_8_weighs_its_three_terms(adversarial, values, diversity, weights):
    def tensor(value):
        return None if value is None else torch.tensor(value, dtype=torch.float64, requires_grad=True)

    alignments, srl, adv = [tensor(value) for value in values], tensor(diversity), tensor(adversarial)
    total = full_objective(adv, alignments, srl, weights)
    printed = weights[0] * (adversarial or 0.0) + weights[1] * (values[0] + values[1]) + weights[2] * (diversity or 0.0)
    assert float(total.detach()) == pytest.approx(printed, abs=1e-9)
    terms = [(adv, weights[0]), *((a, weights[1]) for a in alignments), (srl, weights[2])]
    for term, weight in terms:
        if term is not None:
            assert float(torch.autograd.grad(total, term, retain_graph=True)[0]) == weight


@pytest.mark.parametrize("r1_weight", [0.0, 3.0])
def test_wrong_pairs_count_as_generated(r1_weight):
    real, fake = torch.tensor([0.5, -1.0]).view(2, 1, 1, 1), torch.tensor([0.2, 0.9]).view(2, 1, 1, 1)
    c = torch.tensor([[1.0], [-2.0]])

    def sigmoid(value):
        return 1 / (1 + math.exp(-value))

    loss = mismatched_discriminator_loss(lambda x, k: x[:, 0, 0, 0] * k[:, 0], real, fake, c, r1_weight)
    printed = 0.0
    for i in range(2):
        x, y, own, other = (float(t) for t in (real[i], fake[i], c[i], c[(i + 1) % 2]))
        printed -= math.log(sigmoid(x * own)) / 2
        printed -= (math.log(1 - sigmoid(y * own)) + math.log(1 - sigmoid(x * other))) / 2 / 2
        printed += r1_weight / 2 * own**2 / 2
    assert float(loss.detach()) == pytest.approx(printed, rel=1e-5)
