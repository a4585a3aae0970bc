"""What stage 2 starts from, under each reading of the ablations."""

from types import SimpleNamespace

import pytest
import torch

from kdx2i.distill.transfers import TransferReadings, read_transfers
from kdx2i.stages.train import starting_tensors
from kdx2i.training.checkpoint import save_tensors


def student(folder, value, *networks):
    tensors = {f"{name}.weight": torch.full((2,), value) for name in networks}
    save_tensors(folder / "student.safetensors", tensors, {})
    return SimpleNamespace(file=lambda name: folder / name)


@pytest.mark.parametrize(
    ("readings", "transfer", "discriminator"),
    [
        ({}, "kd", 1.0),
        ({"discriminator": "random"}, "kd", None),
        ({}, "kd-l1", None),
        ({"l1_discriminator": "student"}, "kd-l1", 1.0),
        ({"l1_discriminator": "kd"}, "kd-l1", 2.0),
        ({"discriminator": "random"}, "kd-encoder-scratch", None),
    ],
)
def test_the_discriminator_starts_as_the_reading_says(tmp_path, readings, transfer, discriminator):
    for name in ("own", "full"):
        (tmp_path / name).mkdir()
    read = read_transfers(TransferReadings(**readings))[transfer]
    own = ("generator", "discriminator") if read.trains_discriminator else ("generator",)
    inputs = {
        "distilled": student(tmp_path / "own", 1.0, *own),
        "discriminator": student(tmp_path / "full", 2.0, "generator", "discriminator"),
    }
    spec = SimpleNamespace(student_file=None, discriminator_file=None)
    tensors = starting_tensors(SimpleNamespace(root=tmp_path), SimpleNamespace(inputs=inputs, spec=spec), read)
    shipped = {"student_file": "own/student.safetensors", "discriminator_file": "full/student.safetensors"}
    leaf = SimpleNamespace(inputs={}, spec=SimpleNamespace(**shipped))
    assert set(starting_tensors(SimpleNamespace(root=tmp_path), leaf, read)) == set(tensors)
    assert float(tensors["generator.weight"][0]) == 1.0
    found = tensors.get("discriminator.weight")
    assert (None if found is None else float(found[0])) == discriminator
