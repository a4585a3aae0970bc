"""The classifier of RC and FC: it learns, repeats itself, survives a file and states its uncertainty."""

from pathlib import Path

import pytest
import scipy.optimize
import scipy.stats
import torch
from safetensors.torch import save_file
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.classifiers.classifier import (
    accuracy,
    load_classifier,
    predict,
    save_classifier,
    train_classifier,
    wilson_interval,
)
from kdx2i.metrics.classifiers.probe import LinearProbe, train_probe
from kdx2i.metrics.extractors.extractor import Extractor, extract
from kdx2i.metrics.settings import ClassifierSettings

PROBE = ClassifierSettings()
RESNET = ClassifierSettings(architecture="resnet18", epochs=1, batch=12, learning_rate=0.02, shift=1, flip=True)


def coloured(count: int, size: int, seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Return noisy images whose class is their brightest channel."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    images = torch.randint(0, 120, (count, 3, size, size), generator=generator)
    images[torch.arange(count), labels] += 100
    return images.to(torch.uint8), labels


def test_the_probe_minimises_its_objective() -> None:
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.rand(12, 40, generator=generator), torch.arange(12) % 3
    probe = train_probe(features, labels, 3, 1e-2, 500)
    points = torch.nn.functional.normalize(features.double() - features.double().mean(0), dim=1)

    def objective(flat: object) -> tuple[float, object]:
        values = torch.as_tensor(flat).reshape(41, 3).clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(points @ values[:-1] + values[-1], labels)
        loss = loss + 0.5e-2 * values[:-1].square().sum()
        (gradient,) = torch.autograd.grad(loss, values)
        return float(loss.detach()), gradient.flatten().numpy()

    # The full problem in all 40 dimensions, by another solver, has the same minimum and the same minimiser.
    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    optimum = scipy.optimize.minimize(objective, [0.0] * 123, jac=True, method="L-BFGS-B", options=options)
    expected = torch.tensor(optimum.x).view(41, 3)
    weights_of_probe = torch.cat([probe.weight, probe.bias[None]])
    assert objective(weights_of_probe.flatten())[0] <= optimum.fun + 1e-12
    torch.testing.assert_close(probe.weight, expected[:-1], rtol=0, atol=1e-5)


LEARNERS = [PROBE, PROBE.model_copy(update={"flip": True}), RESNET.model_copy(update={"epochs": 12})]


@pytest.mark.parametrize("settings", LEARNERS)
def test_learns(settings: ClassifierSettings, extractor: Extractor) -> None:
    train, test = coloured(24, 16, 0), coloured(30, 16, 1)
    classifier = train_classifier(*train, 3, settings, 5, extractor=extractor)
    assert (classifier.classes, classifier.samples) == (3, 24)
    assert accuracy(classifier, *test, extractor=extractor) > 90.0


@pytest.mark.parametrize("settings", [PROBE, RESNET])
def test_repeats(settings: ClassifierSettings, extractor: Extractor) -> None:
    images, labels = coloured(24, 16, 0)
    state = torch.random.get_rng_state()
    first, second = (train_classifier(images, labels, 3, settings, 5, extractor=extractor) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    logits = [classifier.logits(images, extractor=extractor) for classifier in (first, second)]
    assert torch.equal(logits[0], logits[1])


def test_features_are_shared(extractor: Extractor) -> None:
    images, labels = coloured(12, 32, 0)
    features = extract(extractor, images)
    first = train_classifier(images, labels, 3, PROBE, extractor=extractor)
    second = train_classifier(images, labels, 3, PROBE, features=features)
    assert isinstance(first.model, LinearProbe) and isinstance(second.model, LinearProbe)
    assert torch.equal(first.model.weight, second.model.weight)
    assert torch.equal(predict(first, images, features=features), predict(first, images, extractor=extractor))


def test_the_seed_matters_to_the_network() -> None:
    images, labels = coloured(8, 16, 0)
    first, second = (train_classifier(images, labels, 3, RESNET, seed) for seed in (0, 1))
    assert not torch.equal(first.logits(images), second.logits(images))


@pytest.mark.parametrize("settings", [PROBE, RESNET.model_copy(update={"input_size": 32})])
def test_file_round_trip(settings: ClassifierSettings, extractor: Extractor, tmp_path: Path) -> None:
    images, labels = coloured(9, 24, 0)
    classifier = train_classifier(images, labels, 3, settings, extractor=extractor)
    path = tmp_path / "classifier.safetensors"
    save_classifier(path, classifier, {"split_sha256": "0" * 64})
    first = path.read_bytes()
    loaded = load_classifier(path)
    assert (loaded.settings, loaded.classes, loaded.samples) == (settings, 3, 9)
    assert loaded.extractor == classifier.extractor
    assert torch.equal(loaded.logits(images, extractor=extractor), classifier.logits(images, extractor=extractor))
    save_classifier(path, classifier, {"split_sha256": "0" * 64})
    assert path.read_bytes() == first


def test_started_from_weights(tmp_path: Path) -> None:
    from kdx2i.files import sha256_file
    from kdx2i.metrics.classifiers.resnet import build_resnet

    donor = build_resnet(1000, RESNET)
    path = tmp_path / "resnet18.pth"
    torch.save(donor.state_dict(), path)
    settings = RESNET.model_copy(update={"initial_weights": str(path), "initial_weights_sha256": sha256_file(path)})
    network = build_resnet(3, settings)
    assert torch.equal(network.state_dict()["layer4.1.conv2.weight"], donor.state_dict()["layer4.1.conv2.weight"])
    assert network.state_dict()["fc.weight"].shape == (3, 512)
    with pytest.raises(UserError, match="SHA-256"):
        build_resnet(3, settings.model_copy(update={"initial_weights_sha256": "0" * 64}))
    torch.save({"other": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="does not hold the weights of a resnet18"):
        build_resnet(3, settings.model_copy(update={"initial_weights_sha256": sha256_file(path)}))


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (3, 10), (10, 10), (77, 200)])
def test_wilson(correct: int, total: int) -> None:
    expected = scipy.stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, total) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


def test_wrong_input_is_one_sentence(extractor: Extractor, tmp_path: Path) -> None:
    images, labels = coloured(6, 32, 0)
    with pytest.raises(UserError, match="two or more labelled images"):
        train_classifier(images[:1], labels[:1], 3, PROBE, extractor=extractor)
    with pytest.raises(UserError, match=r"0 \.\. 1"):
        train_classifier(images, labels, 2, PROBE, extractor=extractor)
    with pytest.raises(UserError, match="extractor or features"):
        train_classifier(images, labels, 3, PROBE)
    with pytest.raises(UserError, match="flip"):
        train_classifier(
            images, labels, 3, PROBE.model_copy(update={"flip": True}), features=extract(extractor, images)
        )
    classifier = train_classifier(images, labels, 3, PROBE, extractor=extractor)
    other = Extractor("other", "pool", 12, "", "clean", 32, extractor.device, extractor.module)
    with pytest.raises(UserError, match="another extractor"):
        predict(classifier, images, extractor=other)
    with pytest.raises(UserError, match="at least one image"):
        accuracy(classifier, images[:0], labels[:0], extractor=extractor)
    path = tmp_path / "classifier.safetensors"
    with pytest.raises(UserError, match="does not exist"):
        load_classifier(path)
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_classifier(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="no classifier that kdx2i trained"):
        load_classifier(path)
