"""The shared objectives against their formulas, written with loops."""

import pytest
import torch

from kdx2i.methods.families.label_maps.discriminator import MultiscaleDiscriminator
from kdx2i.methods.families.label_maps.losses import adversarial_loss, divergence, feature_matching, gan_loss
from kdx2i.methods.families.label_maps.objectives import Weights, discriminator_loss, generator_loss


def judgement(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = [[(2, 4, 5, 5), (2, 3, 2, 2), (2, 1, 3, 3)], [(2, 4, 3, 3), (2, 3, 1, 1), (2, 1, 2, 2)]]
    return [[torch.randn(shape, generator=generator, dtype=torch.float64) for shape in scale] for scale in shapes]


def by_hand(prediction, real, for_discriminator, mode):
    total = 0.0
    for value in prediction.flatten().tolist():
        if mode == "hinge" and for_discriminator:
            total += max(0.0, 1 - value if real else 1 + value)
        elif mode == "hinge":
            total -= value
        elif mode == "w":
            total += -value if real else value
        elif mode == "ls":
            total += (value - real) ** 2
        else:
            total += torch.nn.functional.softplus(torch.tensor(-value if real else value, dtype=torch.float64)).item()
    return total / prediction.numel()


@pytest.mark.parametrize("mode", ["hinge", "ls", "original", "w"])
@pytest.mark.parametrize(("real", "for_discriminator"), [(True, True), (False, True), (True, False)])
def test_adversarial_losses(mode, real, for_discriminator):
    judged = judgement(1)
    wanted = [by_hand(scale[-1], real, for_discriminator, mode) for scale in judged]
    loss = adversarial_loss(judged, real=real, for_discriminator=for_discriminator, mode=mode)
    assert loss.item() == pytest.approx(sum(wanted) / 2, rel=1e-12)
    one = gan_loss(judged[1][-1], real=real, for_discriminator=for_discriminator, mode=mode)
    assert one.item() == pytest.approx(wanted[1], rel=1e-12)


def test_feature_matching_leaves_out_the_predictions_and_the_real_side():
    fake, real = judgement(1), judgement(2)
    for scale in (*fake, *real):
        for layer in scale:
            layer.requires_grad_()
    loss = feature_matching(fake, real)
    wanted = sum((fake[s][n] - real[s][n]).abs().mean() for s in range(2) for n in range(2)) / 2
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    loss.backward()
    assert all(layer.grad is None for scale in real for layer in scale)
    assert [[layer.grad is not None for layer in scale] for scale in fake] == [[True, True, False]] * 2


def test_the_divergence_is_summed_over_the_batch():
    mean, log_variance = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2)
    assert divergence(mean, log_variance).item() == 0.5 * (1 + 4)
    assert divergence(mean, log_variance + 1).item() == pytest.approx(0.5 * 5 + 0.5 * 4 * (torch.e - 2), rel=1e-6)


def test_a_pair_is_judged_as_two_batches_would_be():
    torch.manual_seed(0)
    discriminator = MultiscaleDiscriminator(2 + 3, 4, scales=2, layers=3).eval()
    maps, fake, real = torch.rand(2, 2, 32, 32), torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    judged = discriminator.judge_pair(maps, fake, real)
    for own, images in zip(judged, (fake, real), strict=True):
        for scale, alone in zip(own, discriminator(torch.cat([maps, images], 1)), strict=True):
            torch.testing.assert_close(scale, alone)
    # A pseudo-condition is the map that has it everywhere.
    pseudo = discriminator.judge(torch.tensor([[0.0, 1.0]] * 2), real)
    spread = torch.tensor([0.0, 1.0])[None, :, None, None].expand(2, 2, 32, 32)
    torch.testing.assert_close(pseudo[0][-1], discriminator.judge(spread, real)[0][-1])


class Judge:
    """Stand-in: the logits of both scales are the mean of the image and twice that, its only feature the image."""

    def judge_pair(self, maps, fake, real):
        return [
            [[image, image.mean((1, 2, 3), keepdim=True) * scale] for scale in (1.0, 2.0)] for image in (fake, real)
        ]


def test_objectives():
    fake, real = torch.full((2, 3, 4, 4), 0.25), torch.full((2, 3, 4, 4), 0.75)
    terms = generator_loss(
        Judge(), real, fake, real, weights=Weights(feat=10.0, vgg=4.0), perceptual=lambda x, y: (x - y).abs().mean()
    )
    assert {name: value.item() for name, value in terms.items()} == {
        "adv": -(0.25 + 0.5) / 2, "feat": 10 * 0.5, "vgg": 4 * 0.5, "total": 5.0 + 2.0 - 0.375
    }  # fmt: skip
    plain = generator_loss(Judge(), real, fake, real, weights=Weights(feat=0.0, vgg=0.0), perceptual=None)
    assert plain.keys() == {"adv", "total"}
    terms = discriminator_loss(Judge(), real, fake, real)
    assert terms["fake"].item() == (1.25 + 1.5) / 2
    assert terms["real"].item() == (0.25 + 0.0) / 2
    assert terms["total"].item() == terms["fake"].item() + terms["real"].item()
