"""BigGAN beside the parity fixtures: its tables below 128 px, spectral norm, statistics, files, training."""

import copy

import pytest
import tiny
import torch

from kdx2i.errors import UserError
from kdx2i.stages.teacher import biggan_settings
from kdx2i.teacher.augment import AugmentSettings
from kdx2i.teacher.biggan import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    standing_statistics,
)
from kdx2i.teacher.biggan.layers import Linear
from kdx2i.teacher.biggan.training import BigGANTeacherSettings, BigGANTraining
from kdx2i.teacher.biggan.weights import load_biggan, save_biggan
from kdx2i.teacher.recipes import load_recipe
from kdx2i.teacher.stylegan2.weights import load_teacher
from kdx2i.training.checkpoint import save_tensors
from kdx2i.training.loop import LoopSettings, train

SIZES = [
    (32, "official", {4: 8, 8: 8, 16: 8, 32: 8}, {16: 8, 8: 8}),
    (32, "truncated", {4: 32, 8: 32, 16: 16, 32: 8}, {16: 8, 8: 16, 4: 32}),
    (64, "official", {4: 32, 8: 32, 16: 16, 32: 8, 64: 4}, {32: 2, 16: 4, 8: 8, 4: 32}),
    (128, "official", {4: 32, 8: 32, 16: 16, 32: 8, 64: 4, 128: 2}, {64: 2, 32: 4, 16: 8, 8: 16, 4: 32}),
]


@pytest.mark.parametrize(("resolution", "table", "made", "seen"), SIZES)
def test_tables_of_each_resolution(resolution, table, made, seen):
    """Channels by resolution: `G_arch` and `D_arch` with a width of two."""
    generator = Generator(GeneratorConfig(resolution, 2, 3, z_dim=14, shared_dim=4, attention=0, table=table))
    z, y = torch.randn(2, generator.config.noise_dim), torch.tensor([0, 2])
    image, features = generator.render(z, generator.shared(y))
    assert image.shape == (2, 3, resolution, resolution)
    assert {r: f.shape[1] for r, f in features.items()} == made
    discriminator = Discriminator(DiscriminatorConfig(resolution, 2, 3, attention=0, table=table))
    logits, features = discriminator(image, y)
    assert logits.shape == (2,)
    assert {r: f.shape[1] for r, f in features.items()} == seen
    assert all(f.shape[2:] == (r, r) for r, f in features.items())


def test_unknown_sizes_are_refused():
    with pytest.raises(ValueError, match="no truncated table for 64 px"):
        Generator(GeneratorConfig(64, 2, 3, table="truncated"))


def test_spectral_norm_converges_to_the_largest_singular_value():
    torch.manual_seed(0)
    layer = Linear(12, 7)
    for _ in range(200):
        layer.normalised()
    largest = torch.linalg.matrix_norm(layer.weight, 2)
    torch.testing.assert_close(layer.normalised(), layer.weight / largest, rtol=1e-4, atol=1e-6)
    vector = layer.eval().u0.clone()
    layer.normalised()
    assert torch.equal(layer.u0, vector)


def test_additions_change_what_follows_them_only():
    generator, _ = tiny.biggan()
    generator.eval()
    z, y = torch.randn(2, generator.config.noise_dim), torch.tensor([0, 1])
    _, plain = generator.render(z, generator.shared(y))
    _, moved = generator.render(z, generator.shared(y), {8: torch.ones_like(plain[8])})
    assert torch.equal(plain[4], moved[4])
    assert torch.equal(plain[8], moved[8])
    assert not torch.equal(plain[16], moved[16])


def test_standing_statistics_are_those_of_the_weights():
    generator, _ = tiny.biggan()
    block = generator.blocks[0][0]
    block.bn1.stored_mean.fill_(9.0)
    other = copy.deepcopy(generator)
    other.blocks[0][0].bn1.stored_mean.fill_(-9.0)
    for each in (generator, other):
        torch.manual_seed(3)
        standing_statistics(each, 4, 8)
    assert torch.equal(block.bn1.stored_mean, other.blocks[0][0].bn1.stored_mean)
    assert not generator.training


def test_files_keep_the_networks(tmp_path):
    generator, discriminator = tiny.biggan()
    path = tmp_path / "teacher.safetensors"
    save_biggan(path, generator, discriminator, {"note": "here"})
    found = load_biggan(path)
    assert found.provenance == {"note": "here"}
    assert found.generator.config == generator.config
    for ours, theirs in ((generator, found.generator), (discriminator, found.discriminator)):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name
    with pytest.raises(UserError, match="StyleGAN2 teacher is needed"):
        load_teacher(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_tensors(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(UserError, match="not a BigGAN teacher"):
        load_biggan(path)
    generator, _ = tiny.biggan()
    save_biggan(path, generator, Discriminator(DiscriminatorConfig(32, 4, 3, attention=0)), {})
    assert load_biggan(path).discriminator.config.width == 4
    huge = {"form": "biggan", "generator": {"resolution": 128, "num_classes": 10**6}, "discriminator": {}}
    save_tensors(path, {"generator.shared.weight": torch.zeros(1)}, {"config": huge})
    with pytest.raises(UserError, match="does not fit the generator"):
        load_biggan(path)


def training(**changes):
    generator, discriminator = tiny.biggan()
    settings = BigGANTeacherSettings(
        generator.config,
        discriminator.config,
        batch=6,
        generator_rate=2e-3,
        discriminator_rate=4e-3,
        augment=AugmentSettings(probability=0.5),
        **changes,
    )
    return BigGANTraining(settings, tiny.sampler(side=32), 0, tiny.CPU)


def test_the_discriminator_learns_to_tell(tmp_path):
    subject, found = training(), []
    subject.optimizers["generator"].param_groups[0]["lr"] = 0.0
    for step in range(40):
        torch.manual_seed(step)
        found.append(subject.training_step(step)["d"].item())
    assert sum(found[-5:]) < 0.7 * sum(found[:5])


def test_the_generator_follows_a_fixed_discriminator():
    subject, found = training(), []
    subject.optimizers["discriminator"].param_groups[0]["lr"] = 0.0
    for step in range(20):
        torch.manual_seed(step)
        found.append(subject.training_step(step)["g"].item())
    assert sum(found[-3:]) < sum(found[:3]) - 0.3


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path):
    whole, first, second = training(), training(), training()
    train(whole, LoopSettings(4, 0), tmp_path / "whole", "whole")
    train(first, LoopSettings(2, 0), tmp_path / "parts", "first")
    train(second, LoopSettings(4, 0), tmp_path / "parts", "second")
    for name in ("generator", "discriminator"):
        pairs = zip(
            whole.networks[name].state_dict().values(), second.networks[name].state_dict().values(), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs), name


def test_the_form_chooses_the_configuration(tmp_path):
    folder = tmp_path / "benchmarks" / "teachers"
    folder.mkdir(parents=True)
    common = "name: t\ntitle: T\ndataset: d\nresolution: 32\niterations: 1\n"
    (folder / "t.yaml").write_text(common + "form: biggan\nsizes: {width: 2, table: truncated}\n")
    assert biggan_settings(load_recipe(tmp_path, "t"), 5).generator.num_classes == 5
    (folder / "t.yaml").write_text(common + "form: biggan\nr1_gamma: 1.0\n")
    with pytest.raises(UserError, match="r1_gamma"):
        load_recipe(tmp_path, "t")
    (folder / "t.yaml").write_text(common + "form: dcgan\n")
    with pytest.raises(UserError, match="no form `dcgan`"):
        load_recipe(tmp_path, "t")
