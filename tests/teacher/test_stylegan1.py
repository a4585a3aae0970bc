"""StyleGAN-1: what parity fixtures cannot see, and official checkpoints read as tensors only."""

import os

import pytest
import torch

from kdx2i.errors import UserError
from kdx2i.teacher.official.stylegan1_files import read_stylegan1
from kdx2i.teacher.stylegan1 import Discriminator, Generator, StyleGAN1Config, mean_style

CONFIG = StyleGAN1Config(resolution=16, code_dim=6, n_mlp=2, widths=(6, 4, 4, 2))


def content():
    torch.manual_seed(0)
    generator, discriminator = Generator(CONFIG).state_dict(), Discriminator(CONFIG).state_dict()
    return {
        "generator": generator,
        "g_running": generator,
        "discriminator": discriminator,
        "g_optimizer": {"state": {}},
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_comes_back_whole(tmp_path, zipped):
    path = tmp_path / "train_step-6.model"
    torch.save(content() | {"align": {"a.b": torch.ones(2)}}, path, _use_new_zipfile_serialization=zipped)
    found = read_stylegan1(path, CONFIG)
    assert sorted(found) == ["align", "discriminator", "g_running", "generator"]
    for name, tensor in content()["discriminator"].items():
        assert torch.equal(found["discriminator"][name], tensor)
    Generator(CONFIG).load_state_dict(found["generator"])


def test_no_code_of_a_checkpoint_runs(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save(content() | {"align": Trap()}, tmp_path / "trap.model")
    with pytest.raises(UserError, match=r"trap\.model"):
        read_stylegan1(tmp_path / "trap.model", CONFIG)
    assert not (tmp_path / "sprung").exists()


def broken(**changes):
    made = content()
    for part, change in changes.items():
        made[part] = dict(made[part]) | change if isinstance(change, dict) else change
    return {part: state for part, state in made.items() if state is not None}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (broken(discriminator=None), "no StyleGAN-1 checkpoint: it holds no 'discriminator'"),
        (broken(generator={"style.1.linear.bias": torch.zeros(9)}), r"generator .* style\.1\.linear\.bias is \(9,\)"),
        (broken(generator={"surplus": torch.zeros(1)}), "surplus is"),
        (broken(discriminator={"linear.linear.bias": torch.full((1,), torch.nan)}), "not finite"),
        (broken(discriminator={"linear.linear.bias": "text"}), "not a table of tensors"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, made, words):
    torch.save(made, tmp_path / "x.model")
    with pytest.raises(UserError, match=words):
        read_stylegan1(tmp_path / "x.model", CONFIG)


def test_a_missing_file_and_an_impossible_size_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_stylegan1(tmp_path / "none.model", CONFIG)
    with pytest.raises(UserError, match=r"4, 8, \.\.\. 32 px, not of 64 px"):
        StyleGAN1Config(resolution=64, widths=(4, 4, 4, 2))


def test_a_separate_discriminator_looks_at_each_image_alone():
    torch.manual_seed(0)
    x = torch.randn(3, 3, 16, 16)
    alone, joint = Discriminator(CONFIG, separate=True), Discriminator(CONFIG)
    torch.testing.assert_close(alone.semantic(x)[:1], alone.semantic(x[:1]))
    assert not torch.allclose(joint.semantic(x)[:1], joint.semantic(x[:1]))
    # One image has no deviation: there both agree.
    joint.load_state_dict(alone.state_dict())
    torch.testing.assert_close(joint(x[:1]), alone(x[:1]))


def test_the_mean_style_is_that_of_many_draws():
    torch.manual_seed(1)
    generator = Generator(CONFIG)
    with torch.no_grad():
        expected = generator.mapping(torch.randn(20_000, 6)).mean(dim=0)
    torch.testing.assert_close(mean_style(CONFIG, generator.state_dict()), expected, atol=0.05, rtol=0)


def test_additions_change_what_comes_after_them():
    torch.manual_seed(0)
    generator = Generator(CONFIG)
    ws = generator.mapping(torch.randn(2, 6))[:, None].expand(-1, generator.num_ws, -1)
    plain, before = generator.synthesis(ws, "none")
    moved, after = generator.synthesis(ws, "none", {8: torch.randn(2, 4, 8, 8)})
    assert torch.equal(before[8], after[8])
    assert not torch.allclose(before[16], after[16])
    assert not torch.allclose(plain, moved)
    same, _ = generator.synthesis(ws, "none", {8: torch.zeros(2, 4, 8, 8)})
    assert torch.equal(same, plain)
