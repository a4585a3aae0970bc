"""Teacher files: the same teacher comes back; what is no teacher is refused by name."""

import json

import pytest
import tiny
import torch

from kdx2i.errors import UserError
from kdx2i.teacher.stylegan2 import Discriminator, Generator
from kdx2i.teacher.stylegan2.weights import load_teacher, save_teacher
from kdx2i.training.checkpoint import load_tensors, save_tensors


def saved(path, dtype=torch.float32, **changes):
    teacher = tiny.teacher(16, **changes)
    save_teacher(path, teacher.generator, teacher.discriminator, {"seed": 3, "title": "f\u00fcnf"}, dtype)
    return teacher


@pytest.mark.parametrize("changes", [{}, {"widths": [8, 5, 4]}, {"architecture": "resnet"}, {"w_avg_beta": 0.9}])
def test_teacher_comes_back_exactly(tmp_path, changes):
    path = tmp_path / "faces.safetensors"
    teacher = saved(path, **changes)
    found = load_teacher(path)
    assert found.provenance == {"seed": 3, "title": "fünf"}
    for name in ("generator", "discriminator"):
        mine, theirs = getattr(teacher, name).state_dict(), getattr(found, name).state_dict()
        assert set(mine) == set(theirs)
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
        assert not getattr(found, name).training
        assert not any(p.requires_grad for p in getattr(found, name).parameters())
    z, x = torch.randn(2, 6), torch.randn(2, 3, 16, 16)
    assert torch.equal(teacher.generator(z, noise="const"), found.generator(z, noise="const"))
    assert torch.equal(teacher.discriminator(x), found.discriminator(x))


def test_half_precision_rounds_once_and_halves_the_file(tmp_path):
    teacher = saved(tmp_path / "full")
    saved(tmp_path / "half", torch.float16)
    found = load_teacher(tmp_path / "half")
    for name, tensor in found.generator.state_dict().items():
        original = teacher.generator.state_dict()[name]
        expected = original if name.endswith("resample_filter") else original.half().float()
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected)
    sizes = [
        sum(t.numel() * t.element_size() for t in load_tensors(tmp_path / n)[0].values()) for n in ("full", "half")
    ]
    assert sizes[0] == 2 * sizes[1]
    save_teacher(tmp_path / "again", found.generator, found.discriminator, found.provenance, torch.float16)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "half").read_bytes()


def test_constants_are_not_stored(tmp_path):
    saved(tmp_path / "t")
    assert not [name for name in load_tensors(tmp_path / "t")[0] if "resample_filter" in name]


def test_unknown_files_are_no_teachers(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(UserError, match=r"x\.safetensors does not exist"):
        load_teacher(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"x\.safetensors is not a whole safetensors file"):
        load_teacher(path)
    for metadata in ({}, {"config": "x"}, {"config": {"generator": {}}}):
        save_tensors(path, {"a": torch.zeros(1)}, metadata)
        with pytest.raises(UserError, match=r"x\.safetensors is not a kdx2i teacher"):
            load_teacher(path)


@pytest.mark.parametrize(
    "change",
    [
        {"unheard_of": 1},
        {"img_resolution": 12},
        {"img_resolution": "16"},
        {"widths": [4, 4]},
        {"w_dim": 7},
        {"img_resolution": 32},
        {"z_dim": -1},
        {"z_dim": 10**12},
        {"channel_base": 2**50, "channel_max": 2**40},
        {"img_resolution": 2**60},
    ],
)
def test_configuration_that_does_not_fit_is_refused(tmp_path, change):
    path = tmp_path / "t.safetensors"
    saved(path)
    tensors, metadata = load_tensors(path)
    metadata["config"]["generator"] |= change
    save_tensors(path, tensors, metadata)
    with pytest.raises(UserError):
        load_teacher(path)


@pytest.mark.parametrize("harm", ["missing", "surplus", "misshapen"])
def test_tensors_that_do_not_fit_are_refused(tmp_path, harm):
    path = tmp_path / "t.safetensors"
    saved(path)
    tensors, metadata = load_tensors(path)
    name = "generator.synthesis.b8.conv0.weight"
    if harm == "missing":
        del tensors[name]
    else:
        tensors[name if harm == "misshapen" else "generator.more"] = torch.zeros(2)
    save_tensors(path, tensors, metadata)
    with pytest.raises(UserError, match=r"t\.safetensors does not fit"):
        load_teacher(path)


def test_file_says_what_it_is(tmp_path):
    saved(tmp_path / "t")
    metadata = load_tensors(tmp_path / "t")[1]
    assert json.dumps(metadata)
    assert metadata["config"]["generator"]["img_resolution"] == 16
    assert set(metadata) == {"config", "provenance"}


def test_saving_does_not_change_what_is_saved(tmp_path):
    generator, discriminator = Generator(tiny.generator_config()), Discriminator(tiny.discriminator_config())
    before = tiny.state_of({"g": generator, "d": discriminator})
    save_teacher(tmp_path / "t", generator, discriminator, {}, torch.float16)
    assert not tiny.changed(before, tiny.state_of({"g": generator, "d": discriminator}))
