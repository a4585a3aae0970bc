"""DRIT++: that it learns one small batch, what each of its steps moves, and its sizes."""

from itertools import pairwise

import pytest
import tiny
import torch
import torch.nn.functional as F

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.drit_pp.blocks import SpectralConv2d
from kdx2i.methods.drit_pp.method import PRIOR_TRAINED, TRANSLATING, Method, swap
from kdx2i.methods.drit_pp.networks import ContentDiscriminator, Discriminator
from kdx2i.methods.drit_pp.settings import Settings
from kdx2i.training.loop import update_averages
from kdx2i.training.sampling import BalancedImages

SIZE, CLASSES = 16, 3
OTHER = {"attribute_mode": "feature-wise", "content_adversary": "small-kernel", "spectral_norm": True}


def method(size=SIZE, networks=None, **train):
    """Three domains with one image of four stripes each."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 256, (CLASSES, 3, 4, 1), dtype=torch.uint8, generator=generator)
    images = rows.repeat_interleave(size // 4, 2).expand(-1, -1, -1, size)
    sampler = BalancedImages(lambda index: images[index], torch.arange(CLASSES), CLASSES, torch.device("cpu"))
    torch.manual_seed(1)
    settings = Settings(
        networks={"width": 4, **(networks or {})},
        train={"batch": 4, "learning_rate": 2e-3, "crop_probability": 0.0, **train},
    )
    return Method(MethodSetup(settings, size, CLASSES, torch.device("cpu"), sampler))


def test_it_learns_one_small_batch():
    subject, results = method(networks={"width": 8}, lambda_rec=100.0), []
    for step in range(40):
        torch.manual_seed(step)
        results.append(subject.training_step(step)["rec"].item())
    assert sum(results[-8:]) < 0.7 * sum(results[:8])


@pytest.mark.parametrize(
    ("networks", "train"), [({}, {}), (OTHER, {"mode_seeking": True})], ids=["default", "everything"]
)
def test_every_parameter_is_trained(networks, train):
    subject = method(networks=networks, **train)
    before = {name: [p.clone() for p in net.parameters()] for name, net in subject.networks.items()}
    assert ("content_discriminator" in before) == (networks is OTHER)
    torch.manual_seed(0)
    subject.training_step(0)
    for name, network in subject.networks.items():
        assert all(not torch.equal(a, b) for a, b in zip(before[name], network.parameters(), strict=True)), name


def test_the_second_step_belongs_to_the_weights_of_the_first_and_leaves_the_attribute_encoder():
    """With plain gradient descent, both steps together are one step down the sum."""
    subject = method()
    start = {name: [p.detach().clone() for p in subject.networks[name].parameters()] for name in TRANSLATING}
    subject.optimizers = {name: torch.optim.SGD(subject.networks[name].parameters(), lr=1.0) for name in TRANSLATING}

    def objectives():
        return [
            sum((p**power).sum() for name in TRANSLATING for p in subject.networks[name].parameters())
            for power in (2, 3)
        ]

    joint, prior = objectives()
    subject.steps_at_same_weights((joint, TRANSLATING), (prior, PRIOR_TRAINED))
    for name in TRANSLATING:
        for old, new in zip(start[name], subject.networks[name].parameters(), strict=True):
            second = 0 if name == "attribute_encoder" else 3 * old**2
            torch.testing.assert_close(new.detach(), old - 2 * old - second)


def test_pairs_swap():
    assert swap(torch.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]


def test_images_take_their_partners_content():
    """Without noise, an image that is its own partner is swapped into its own reconstruction."""
    subject = method(batch=2)
    for network in subject.networks.values():
        network.eval()
    x = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    domains, z = F.one_hot(torch.tensor([1, 1]), CLASSES).float(), torch.randn(1, 8).repeat(2, 1)
    torch.manual_seed(0)
    made = subject._forward(torch.cat([x[:1], x[:1]]), domains, (z,))
    torch.testing.assert_close(made.swapped, made.reconstruction)
    other = subject._forward(x, domains, (z,))
    content = subject.networks["content_encoder"](x)
    torch.testing.assert_close(other.prior[0], subject.networks["generator"](content.flip(0), z, domains))


@pytest.mark.parametrize("size", [32, 64, 128])
def test_it_runs_at_every_resolution(size):
    subject = method(size, {**OTHER, "width": 2}, batch=2)
    torch.manual_seed(0)
    subject.training_step(0)
    x, y = torch.rand(2, 3, size, size) * 2 - 1, torch.tensor([0, 2])
    assert tiny.translated(subject, x, y, "latent").shape == x.shape
    patches, domains = subject.networks["swap_discriminator"](x)
    # Two by two patches inside a ring of zeros.
    assert patches.shape == (2, 1, 4, 4)
    assert torch.count_nonzero(patches) == 8
    assert domains.shape == (2, CLASSES)


def test_the_official_content_discriminator_takes_the_official_crop_only():
    network = ContentDiscriminator(CLASSES, width=1)
    assert network(torch.zeros(1, 4, 54, 54)).shape == (1, CLASSES)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 4, 32, 32))
    assert ContentDiscriminator(CLASSES, 1, kernel=3)(torch.zeros(1, 4, 32, 32)).shape == (1, CLASSES)


def test_widths_of_the_official_discriminator():
    with torch.device("meta"):
        network = Discriminator(image_size=128)
    assert [layer.model[1].out_channels for layer in network.model] == [64, 128, 256, 512, 1024, 1024]


def test_translation_follows_the_reference_without_noise():
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
    with pytest.raises(ValueError, match="lacks its reference"):
        tiny.translated(subject, x, y, "reference")


def test_the_content_is_noisy_in_training_only():
    encoder = method().networks["content_encoder"]
    x = torch.rand(64, 3, 16, 16)
    noise = encoder.train()(x) - encoder.eval()(x)
    assert noise.mean().item() == pytest.approx(0, abs=0.05)
    assert noise.std().item() == pytest.approx(1, abs=0.05)


def test_the_rate_falls_after_its_plateau_but_not_that_of_the_content_discriminator():
    subject = method(networks=OTHER, iterations=10)
    rates = {name: [] for name in ("generator", "content_discriminator")}
    for step in range(10):
        subject.training_step(step)
        for name, seen in rates.items():
            seen.append(subject.optimizers[name].param_groups[0]["lr"])
    assert rates["generator"][:6] == [2e-3] * 6
    assert all(a > b > 0 for a, b in pairwise(rates["generator"][5:]))
    assert rates["content_discriminator"] == [4e-5] * 10


def test_the_spectral_norm_converges_to_one_and_is_kept_for_evaluation():
    torch.manual_seed(0)
    layer = SpectralConv2d(3, 5, 3)
    x = torch.rand(1, 3, 8, 8)
    for _ in range(100):
        trained = layer(x)
    assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(layer.eval()(x), trained)
    (gradient,) = torch.autograd.grad(layer.train()(x).sum(), layer.weight_orig)
    # The layer does not depend on the length of its weight.
    assert (gradient * layer.weight_orig).sum().item() == pytest.approx(0, abs=1e-4)
