"""Training of a teacher: each regulariser against a computation by hand, and steps that change what they should."""

import math

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import nn

from kdx2i.teacher.augment import AugmentSettings
from kdx2i.teacher.stylegan2 import Generator
from kdx2i.teacher.stylegan2 import training as module
from kdx2i.teacher.stylegan2.training import draw_styles, lazy_adam, path_lengths, path_penalty, r1_penalty
from kdx2i.training.loop import LoopSettings, train


def test_r1_of_a_quadratic_by_hand():
    # D(x) = sum a x^2 has the gradient 2 a x.
    torch.manual_seed(0)
    a = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty((a * x.square()).sum(dim=(1, 2, 3)), x)
    torch.testing.assert_close(penalty, (2 * a * x).square().sum(dim=(1, 2, 3)).mean())
    # And the penalty itself can be minimised: d/da of 4 a^2 x^2 is 8 a x^2.
    (gradient,) = torch.autograd.grad(penalty, a)
    torch.testing.assert_close(gradient, (8 * a * x.square()).mean(dim=0))


def test_r1_of_logits_with_a_column_is_that_of_a_vector():
    x = torch.randn(2, 3, 2, 2, requires_grad=True)
    logits = x.sum(dim=(1, 2, 3))
    assert float(r1_penalty(logits[:, None], x)) == pytest.approx(12.0)
    assert float(r1_penalty(x.sum(dim=(1, 2, 3)), x)) == pytest.approx(12.0)


def test_path_lengths_of_a_linear_generator_by_hand():
    # image[b] = sum_k M_k w[b, k]: J^T y = M_k^T y for each layer k.
    torch.manual_seed(0)
    batch, layers, dimensions, side = 4, 3, 5, 2
    matrices = torch.randn(layers, 3 * side * side, dimensions, dtype=torch.float64)
    ws = torch.randn(batch, layers, dimensions, dtype=torch.float64, requires_grad=True)
    image = torch.einsum("kpd,bkd->bp", matrices, ws).reshape(batch, 3, side, side)
    noise = torch.randn(batch, 3, side, side, dtype=torch.float64)
    jacobian = torch.einsum("kpd,bp->bkd", matrices, noise.flatten(1)) / math.sqrt(side * side)
    expected = jacobian.square().sum(dim=2).mean(dim=1).sqrt()
    torch.testing.assert_close(path_lengths(image, ws, noise), expected)


def test_path_penalty_by_hand():
    lengths, mean = torch.tensor([1.0, 3.0]), torch.tensor(1.0)
    penalty, moved = path_penalty(lengths, mean, decay=0.1)
    assert float(moved) == pytest.approx(1.0 + 0.1 * (2.0 - 1.0))
    assert float(penalty) == pytest.approx(((1 - 1.1) ** 2 + (3 - 1.1) ** 2) / 2)
    assert not path_penalty(lengths.requires_grad_(), mean)[1].requires_grad
    assert float(path_penalty(lengths, mean)[1]) == pytest.approx(1.01)


@pytest.mark.parametrize(("every", "ratio"), [(16, 16 / 17), (4, 4 / 5), (0, 1.0)])
def test_lazy_adam_corrects_rate_and_betas(every, ratio):
    group = lazy_adam(nn.Linear(1, 1), 2e-3, every).param_groups[0]
    assert group["lr"] == pytest.approx(2e-3 * ratio)
    assert group["betas"] == (0.0, pytest.approx(0.99**ratio))
    assert group["eps"] == 1e-8


def test_styles_mix_at_one_cut_or_not_at_all():
    generator = Generator(tiny.generator_config(16)).eval()
    cuts = set()
    for seed in range(30):
        torch.manual_seed(seed)
        ws = draw_styles(generator, 4, 1.0, tiny.CPU)
        assert ws.shape == (4, 6, 6)
        changes = [k for k in range(1, 6) if not torch.equal(ws[:, k], ws[:, k - 1])]
        assert len(changes) == 1
        cuts.add(changes[0])
        torch.manual_seed(seed)
        plain = draw_styles(generator, 4, 0.0, tiny.CPU)
        assert torch.equal(plain, plain[:, :1].expand_as(plain))
        assert torch.equal(plain[:, 0], ws[:, 0])
    assert cuts == {1, 2, 3, 4, 5}


def test_mean_style_follows_only_while_training():
    generator = Generator(tiny.generator_config())
    draw_styles(generator.eval(), 4, 0.0, tiny.CPU)
    assert not generator.mapping.w_avg.any()
    torch.manual_seed(0)
    ws = draw_styles(generator.train(), 4, 0.0, tiny.CPU)
    torch.testing.assert_close(generator.mapping.w_avg, 0.005 * ws[:, 0].mean(dim=0).detach())


def test_averages_forget_by_half_lives_in_images():
    training = tiny.teacher_training(batch=20, ema_kimg=2.0, ema_ramp=0.05)
    # Late: after 2000 images, 100 steps, one half is left.
    late = training.ema_decay(10**6)
    assert late**100 == pytest.approx(0.5)
    # Early: the half-life is a twentieth of the images seen.
    assert training.ema_decay(9) == pytest.approx(0.5 ** (20 / (200 * 0.05)))
    decays = [training.ema_decay(step) for step in range(0, 4000, 50)]
    assert decays == sorted(decays)


def test_one_step_updates_both_networks_and_says_what_it_minimised():
    training = tiny.teacher_training(path_length_weight=0.0, augment=AugmentSettings(), r1_every=16)
    before = tiny.state_of(training.networks)
    discriminator, generator = training.discriminator, training.generator
    torch.manual_seed(6)
    reals = training._reals()
    with torch.no_grad():
        fakes = generator.synthesis(draw_styles(generator, 4, 0.9, tiny.CPU), "random")[0]
    expected = -F.logsigmoid(discriminator(reals)).mean() - torch.log(1 - torch.sigmoid(discriminator(fakes))).mean()
    generator.load_state_dict({k[len("generator.") :]: v for k, v in before.items() if k.startswith("generator.")})
    torch.manual_seed(6)
    scalars = training.training_step(1)
    torch.testing.assert_close(scalars["d"].detach(), expected.detach(), rtol=1e-5, atol=1e-6)
    moved = tiny.changed(before, tiny.state_of(training.networks))
    learned = {f"{n}.{k}" for n, m in training.networks.items() for k, _ in m.named_parameters()}
    unmoved = {name for name in learned - moved if not name.endswith("noise_strength")}
    assert not unmoved
    assert moved - learned == {"generator.mapping.w_avg"}


def test_regularisers_come_when_they_are_due(monkeypatch):
    training = tiny.teacher_training(r1_every=3, path_length_every=2)
    seen = []
    for name in ("r1_penalty", "path_penalty"):
        proper = getattr(module, name)

        def spy(*args, proper=proper, name=name):
            seen.append((step, name))
            return proper(*args)

        monkeypatch.setattr(module, name, spy)
    for step in range(7):
        training.training_step(step)
    assert [s for s, name in seen if name == "r1_penalty"] == [0, 3, 6]
    assert [s for s, name in seen if name == "path_penalty"] == [0, 2, 4, 6]


def test_regularisers_are_weighted_for_the_steps_that_they_skip(monkeypatch):
    gamma, r1_every, weight, path_every = 3.0, 5, 2.0, 4
    training = tiny.teacher_training(
        r1_gamma=gamma, r1_every=r1_every, path_length_weight=weight, path_length_every=path_every
    )
    penalties, losses = [], []
    for name in ("r1_penalty", "path_penalty"):
        proper = getattr(module, name)

        def spy(*args, proper=proper):
            result = proper(*args)
            penalties.append(float((result[0] if isinstance(result, tuple) else result).detach()))
            return result

        monkeypatch.setattr(module, name, spy)
    monkeypatch.setattr(module, "step_optimizers", lambda loss, *_: losses.append(float(loss.detach())))
    scalars = training.training_step(0)
    # Discriminator, its R1 (gamma / 2 a step), generator, its path lengths (over half a batch).
    expected = [float(scalars["d"].detach()), gamma / 2 * r1_every * penalties[0]]
    expected += [float(scalars["g"].detach()), weight * path_every * penalties[1]]
    assert losses == pytest.approx(expected)


def test_training_stays_finite_and_adapts(tmp_path):
    training = tiny.teacher_training()
    train(training, LoopSettings(12, 0, log_every=1), tmp_path, "x")
    for tensor in (*tiny.state_of(training.networks).values(), *tiny.state_of(training.averages).values()):
        assert bool(torch.isfinite(tensor).all())
    assert 0.0 <= training.augment.probability <= 1.0
    assert training.augment.probability != 0.3
    assert float(training.path_mean) > 0
    images, per_row = training.preview()
    assert images.shape == (32, 3, 8, 8)
    assert per_row == 8


def test_discriminator_learns_to_tell_fixed_pictures_apart():
    training = tiny.teacher_training(
        r1_every=16, path_length_weight=0.0, augment=AugmentSettings(), learning_rate=1e-2, noise="none"
    )
    for parameter in training.generator.parameters():
        parameter.requires_grad_(False)
    training.optimizers = {**training.optimizers, "generator": tiny.Recorder(training.discriminator.parameters())}
    losses = []
    for step in range(30):
        torch.manual_seed(step)
        losses.append(float(training.training_step(step)["d"].detach()))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_images_are_mirrored_half_of_the_time_only_if_asked():
    pixels = tiny.pictures()
    for mirror in (True, False):
        training = tiny.teacher_training(batch=400, mirror=mirror)
        torch.manual_seed(0)
        drawn = ((training._reals() + 1) * 127.5).round().to(torch.uint8)
        plain = (drawn[:, None] == pixels).flatten(2).all(dim=2).any(dim=1).float().mean()
        flipped = (drawn[:, None] == pixels.flip(3)).flatten(2).all(dim=2).any(dim=1).float().mean()
        assert float(plain + flipped) == pytest.approx(1.0)
        assert abs(float(flipped) - (0.5 if mirror else 0.0)) < 0.12


def test_scalars_come_back():
    training = tiny.teacher_training()
    training.augment.probability, training.path_mean = 0.123456789, torch.tensor(0.7654321)
    other = tiny.teacher_training()
    other.restore_scalars(training.scalars())
    assert other.scalars() == training.scalars()
    assert torch.equal(other.path_mean, training.path_mean)
