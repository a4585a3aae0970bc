"""The students of text, speech and label maps in stage 1: what their protocol promises, and what a step moves."""

import pytest
import tiny
import torch

from kdx2i.distill.transfers import TRANSFERS
from kdx2i.distill.x2i import X2IDistillation
from kdx2i.errors import UserError
from kdx2i.methods.build import build_student
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.s2igan.settings import Networks as SpeechSizes
from kdx2i.methods.s2igan.student import Student as SpeechStudent

SIDE, BATCH = 32, 4
SIZES = {
    "ssa_gan": {"ngf": 4, "ndf": 4, "noise_dim": 6, "condition_dim": 10, "modulation_width": 8},
    "s2igan": {"gf_dim": 4, "df_dim": 4, "noise_dim": 6, "condition_dim": 5, "speech_dim": 10, "stages": 2,
               "residual_blocks": 1},
    "sean": {"label_nc": 4, "style_layers": 4, "ngf": 4, "ndf": 4, "num_d": 1, "n_layers_d": 2, "style_length": 10,
             "encoder_width": 4, "hidden": 8},
}  # fmt: skip
DISTILL = {"batch": BATCH, "mixing_layers": 3, "lambda_adv": 0.5, "lambda_srl": 0.1, "lambda_kdl": 1.0, "beta": 1.0}
CONDITIONED = sorted(name for name, known in architectures().items() if known.student and known.task in
                     ("text", "speech", "label-map"))  # fmt: skip


def made(name, **sizes):
    torch.manual_seed(3)
    settings = {"networks": SIZES[name] | sizes, "distill": DISTILL}
    return build_student(name, settings, SIDE, tiny.CPU)


@pytest.fixture(params=CONDITIONED)
def student(request):
    """A student in evaluation mode whose parameters are all at work: some start at zero."""
    student = made(request.param)[0]
    for network in student.networks.values():
        network.eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    return student


def first_of(student, noise, c):
    return torch.randn_like(student.generate(noise, c, None)[1][8])


def test_every_student_of_these_tasks_is_tested():
    assert set(CONDITIONED) == set(SIZES)


@torch.no_grad()
def test_noise_and_condition_say_all_of_an_image(student):
    noise, c = torch.randn(BATCH, student.noise_dim), torch.randn(BATCH, student.condition_dim)
    image, features = student.generate(noise, c, None)
    again, _ = student.generate(noise, c, None)
    assert image.shape == (BATCH, 3, SIDE, SIDE) and torch.equal(image, again)
    assert all(feature.shape[0] == BATCH and feature.shape[2:] == (r, r) for r, feature in features.items())
    assert not torch.allclose(image, student.generate(noise, c.roll(1, 0), None)[0])
    assert not torch.allclose(image, student.generate(noise.roll(1, 0), c, None)[0])


@torch.no_grad()
def test_the_first_feature_is_summed_once_and_reaches_what_is_above_it(student):
    noise, c = torch.randn(BATCH, student.noise_dim), torch.randn(BATCH, student.condition_dim)
    image, own = student.generate(noise, c, None)
    first = first_of(student, noise, c)
    _, features = student.generate(noise, c, first)
    assert torch.allclose(features[8], own[8] + first, atol=1e-5)
    assert not torch.allclose(features[SIDE], own[SIDE])
    assert torch.equal(student.generate(noise, c, torch.zeros_like(first))[0], image)


def test_discriminators_see_image_and_condition(student):
    x, c = torch.rand(BATCH, 3, SIDE, SIDE) * 2 - 1, torch.randn(BATCH, student.condition_dim)
    logits = student.discriminate(x, c)
    assert len(logits) == BATCH and logits.ndim in (1, 2)
    assert not torch.allclose(logits, student.discriminate(x, c.roll(1, 0)))
    assert not torch.allclose(logits, student.discriminate(x.roll(1, 0), c))
    assert len(student.discriminate(x, student.constant_condition(0.0, BATCH))) == BATCH
    student.discriminate(x.requires_grad_(), c).sum().backward()
    assert x.grad is not None and all(p.grad is None for p in student.networks["generator"].parameters())


@pytest.mark.parametrize("transfer", ["kd", "kd-l1", "kd-adv", "kd-constant-condition", "kd-no-diversity"])
@pytest.mark.parametrize("name", CONDITIONED)
def test_a_step_of_every_transfer_moves_what_it_should(name, transfer):
    student, settings = made(name)
    torch.manual_seed(4)
    subject = X2IDistillation(student, tiny.teacher(SIDE), settings, TRANSFERS[transfer], tiny.CPU)
    before = {n: [p.detach().clone() for p in network.parameters()] for n, network in student.networks.items()}
    scalars = subject.training_step(0)
    assert all(torch.isfinite(value).all() for value in scalars.values())
    moved = {
        n: any(not torch.equal(a, b) for a, b in zip(before[n], network.parameters(), strict=True))
        for n, network in student.networks.items()
    }
    assert moved == {"generator": True, "discriminator": TRANSFERS[transfer].trains_discriminator}
    assert ("diversity" in scalars) == TRANSFERS[transfer].diversity
    shown, columns = subject.preview()
    assert shown.shape[1:] == (3, SIDE, SIDE) and len(shown) % columns == 0


def test_the_constant_of_speech_lies_before_or_behind_the_augmentation():
    torch.manual_seed(5)
    behind = SpeechStudent(SpeechSizes(**SIZES["s2igan"], constant_side="condition"), SIDE, tiny.CPU)
    before = SpeechStudent(SpeechSizes(**SIZES["s2igan"]), SIDE, tiny.CPU)
    before.with_networks(behind.networks)
    one = behind.constant_condition(1.0, BATCH)
    assert one.shape == (BATCH, 5) and before.constant_condition(1.0, BATCH).shape == (BATCH, 10)
    noise = torch.randn(BATCH, behind.noise_dim)
    image = behind.generate(noise, one, None)[0]
    direct = behind.networks["generator"].render(noise[:, :6], one)[0][-1]
    assert torch.allclose(image, direct)
    # Behind the augmentation its noise has no part in the image.
    other = torch.cat([noise[:, :6], torch.randn(BATCH, 5)], dim=1)
    assert torch.allclose(image, behind.generate(other, one, None)[0])
    with pytest.raises(UserError, match="have to differ"):
        SpeechStudent(SpeechSizes(**SIZES["s2igan"] | {"speech_dim": 5}, constant_side="condition"), SIDE, tiny.CPU)
