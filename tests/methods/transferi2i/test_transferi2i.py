"""TransferI2I on BigGAN: its phases, what learns in each, and that each objective falls on small batches."""

import pytest
import tiny
import torch
from pydantic import ValidationError

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.settings import updates_after_first_phases
from kdx2i.methods.transferi2i.method import build
from kdx2i.methods.transferi2i.settings import Settings, Train
from kdx2i.teacher.biggan.weights import save_biggan
from kdx2i.training.checkpoint import load_tensors
from kdx2i.training.loop import LoopSettings, train

CLASSES = 3


def method(**changes):
    torch.manual_seed(1)
    budget = {"iterations": 9, "source_target_iterations": 3, "adaptor_iterations": 3, "batch": 6}
    settings = Settings(
        networks={**tiny.BIGGAN, "teacher_classes": 5},
        train={**budget, "generator_rate": 1e-3, "discriminator_rate": 2e-3, **changes},
    )
    return build(MethodSetup(settings, 32, CLASSES, tiny.CPU, tiny.sampler(side=32)))


def learnt(subject, step):
    before = {name: [p.clone() for p in net.parameters()] for name, net in subject.networks.items()}
    torch.manual_seed(step)
    subject.training_step(step)
    return {
        name
        for name, net in subject.networks.items()
        if any(not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True))
    }


def test_each_phase_trains_its_own_networks():
    subject = method()
    assert learnt(subject, 0) == {"generator", "discriminator"}
    assert learnt(subject, 3) == {"adaptor", "encoder"}  # The encoder becomes the fine-tuned discriminator.
    for of_encoder, of_discriminator in zip(
        subject.encoder.parameters(), subject.discriminator.parameters(), strict=True
    ):
        assert torch.equal(of_encoder, of_discriminator)
    assert learnt(subject, 4) == {"adaptor"}
    assert learnt(subject, 6) == {"generator", "discriminator", "adaptor"}


def test_the_adaptor_learns_the_features_of_the_generator():
    subject = method(iterations=60, source_target_iterations=0, adaptor_iterations=50)
    results = []
    for step in range(50):
        torch.manual_seed(step)
        results.append(float(subject.training_step(step)["self_adaptor"]))
    assert sum(results[-5:]) < 0.8 * sum(results[:5])


def test_the_objectives_of_translation_fall_on_one_batch():
    subject = method(iterations=60, source_target_iterations=0, adaptor_iterations=0)
    results = []
    for step in range(12):
        torch.manual_seed(0)  # The same images, classes and noise each time.
        results.append({name: float(value) for name, value in subject.training_step(step).items()})
    assert results[-1]["d"] < results[0]["d"]
    assert all(abs(value) < 100 for value in results[-1].values())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tensors of a training that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train(method(), LoopSettings(9, 0, checkpoint_every=100), folder, "whole")
    return load_tensors(folder / "checkpoint.safetensors")[0]


@pytest.mark.parametrize("stops", [(2, 5), (3, 7)])
def test_a_resumed_training_ends_in_the_same_bytes(tmp_path, whole, stops):
    for count in (*stops, 9):
        train(method(), LoopSettings(count, 0, checkpoint_every=100), tmp_path, "x")
    first, second = whole, load_tensors(tmp_path / "checkpoint.safetensors")[0]
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_it_starts_from_the_teacher_and_translates(tmp_path):
    generator, discriminator = tiny.biggan(5, seed=4)
    save_biggan(tmp_path / "teacher.safetensors", generator, discriminator, {})
    subject = method()
    subject.start_from_teacher(tmp_path / "teacher.safetensors")
    assert torch.equal(subject.generator.shared.weight, generator.shared.weight)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    made = tiny.translated(subject, x, torch.tensor([0, 2]), "latent")
    assert made.shape == x.shape and made.abs().max() <= 1


def test_the_phases_must_leave_iterations_to_translate():
    with pytest.raises(ValidationError, match="must be more than the 10 that come before"):
        Train(iterations=10, source_target_iterations=5, adaptor_iterations=5)
    assert updates_after_first_phases({"iterations": 10, "source_target_iterations": 4, "adaptor_iterations": 2}) == 4
