"""The half-steps: what is shared, what is detached, what gets a gradient."""

import pytest
import torch

from kdx2i.methods.families.stargan.blocks import he_init
from kdx2i.methods.families.stargan.losses import (
    Guidance,
    Networks,
    Weights,
    adversarial_loss,
    detach,
    discriminator_loss,
    frozen,
    generator_loss,
)
from kdx2i.methods.stargan_v2.networks import Discriminator, Generator, MappingNetwork, StyleEncoder


@pytest.fixture
def setup():
    torch.manual_seed(0)
    modules = {
        "generator": Generator(16, 5, 8, dim_in=4),
        "mapping": MappingNetwork(6, 5, 2, hidden_dim=8),
        "style": StyleEncoder(16, 5, 2, 8, dim_in=4),
        "discriminator": Discriminator(16, 2, 8, dim_in=4),
    }
    for module in modules.values():
        he_init(module)
    counts = {"encode": 0, "decode": 0}

    def encode(x):
        counts["encode"] += 1
        return modules["generator"].content(x)

    def decode(h, s):
        counts["decode"] += 1
        return modules["generator"].render(h, s)

    networks = Networks(encode, decode, modules["mapping"], modules["style"], modules["discriminator"])
    x, y = torch.randn(2, 3, 16, 16), torch.tensor([0, 1])
    y_trg = torch.tensor([1, 1])
    latent = Guidance(y_trg, z=torch.randn(2, 6), z2=torch.randn(2, 6))
    reference = Guidance(y_trg, x_ref=torch.randn(2, 3, 16, 16), x_ref2=torch.randn(2, 3, 16, 16))
    return modules, networks, counts, x, y, latent, reference


def has_gradient(module):
    return [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters()]


def test_content_is_computed_once_and_can_be_shared(setup):
    _, networks, counts, x, y, latent, reference = setup
    content = networks.encode(x)
    for guidance in (latent, reference):
        for objective in (discriminator_loss, generator_loss):
            own = objective(networks, x, y, guidance, Weights())
            shared = objective(networks, x, y, guidance, Weights(), content)
            for name in own:
                assert torch.equal(own[name], shared[name]), name
    counts["encode"] = counts["decode"] = 0
    discriminator_loss(networks, x, y, latent, Weights(), content)
    assert counts == {"encode": 0, "decode": 1}
    counts["decode"] = 0
    generator_loss(networks, x, y, latent, Weights())
    assert counts == {"encode": 2, "decode": 3}


def test_the_discriminator_objective_reaches_only_the_discriminator(setup):
    modules, networks, _, x, y, latent, reference = setup
    for guidance in (latent, reference):
        discriminator_loss(networks, x, y, guidance, Weights())["total"].backward()
    assert all(has_gradient(modules["discriminator"])[:-1])
    for name in ("generator", "mapping", "style"):
        assert not any(has_gradient(modules[name])), name
    assert x.grad is None
    assert not x.requires_grad


def test_the_latent_generator_objective_trains_all_three(setup):
    modules, networks, _, x, y, latent, _ = setup
    with frozen(modules["discriminator"]):
        generator_loss(networks, x, y, latent, Weights())["total"].backward()
    for name in ("generator", "mapping", "style"):
        assert any(has_gradient(modules[name])), name
    assert all(p.grad is None for p in modules["discriminator"].parameters())
    assert all(p.requires_grad for p in modules["discriminator"].parameters())


def test_frozen_restores_flags_even_after_an_error(setup):
    modules = setup[0]
    parameter = next(modules["style"].parameters())
    parameter.requires_grad_(False)
    with pytest.raises(RuntimeError, match="stop"), frozen(modules["style"]):
        assert not any(p.requires_grad for p in modules["style"].parameters())
        raise RuntimeError("stop")
    assert [p.requires_grad for p in modules["style"].parameters()].count(False) == 1


def test_adversarial_loss_is_binary_cross_entropy():
    logits = torch.randn(7)
    for target in (True, False):
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.full((7,), float(target)))
        torch.testing.assert_close(adversarial_loss(logits, target), expected)


def test_r1_is_half_the_squared_gradient(setup):
    modules, networks, _, x, y, latent, _ = setup
    reg = discriminator_loss(networks, x, y, latent, Weights())["reg"]
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(modules["discriminator"](x, y).sum(), x)
    torch.testing.assert_close(reg, 0.5 * gradient.square().sum() / len(x))


def test_a_half_step_has_exactly_one_kind_of_guidance():
    y = torch.tensor([0])
    with pytest.raises(ValueError, match="not by both or neither"):
        Guidance(y)
    with pytest.raises(ValueError, match="not by both or neither"):
        Guidance(y, z=torch.zeros(1, 2), x_ref=torch.zeros(1, 3, 4, 4))


def test_a_missing_second_noise_is_named(setup):
    _, networks, _, x, y, _, _ = setup
    with pytest.raises(ValueError, match="second noise"):
        generator_loss(networks, x, y, Guidance(y, z=torch.randn(2, 6)), Weights())


def test_detach_goes_into_tuples():
    t = torch.ones(2, requires_grad=True)
    a, (b,) = detach((t * 2, (t * 3,)))
    assert not a.requires_grad
    assert not b.requires_grad


def test_a_small_batch_can_be_reconstructed(setup):
    modules, networks, _, x, y, latent, _ = setup
    parameters = [p for n in ("generator", "style") for p in modules[n].parameters()]
    optimiser = torch.optim.Adam(parameters, lr=3e-3, betas=(0.0, 0.99))
    losses = []
    for _ in range(40):
        terms = generator_loss(networks, x, y, latent, Weights(ds=0.0))
        optimiser.zero_grad()
        terms["total"].backward()
        optimiser.step()
        losses.append(float(terms["total"].detach()))
    assert losses[-1] < 0.75 * losses[0]
