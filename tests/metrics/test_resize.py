"""The resizes and preprocessings against Pillow, clean-fid, torch-fidelity, torchvision and PyTorch themselves."""

import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from cleanfid.resize import make_resizer
from PIL import Image
from torch import nn
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from kdx2i.metrics.extractors.networks import ImageFeatures
from kdx2i.metrics.extractors.preprocessing import PREPROCESSINGS
from kdx2i.metrics.extractors.resize import resize_bilinear, resize_clean, resize_corners, resize_pillow, resize_tf1

SIZES = [(32, 32, 128), (64, 64, 299), (57, 101, 128), (256, 256, 299), (300, 310, 96), (512, 512, 299)]


def noise(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_clean_equals_pillow(height: int, width: int, size: int) -> None:
    images = noise(height, width)
    results = resize_clean(images, size)
    for image, result in zip(images, results, strict=True):
        for channel, resized in zip(image.float().numpy(), result.numpy(), strict=True):
            expected = np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BICUBIC))
            assert np.abs(expected.clip(0, 255) - resized).max() < 2e-4


def test_clean_equals_clean_fid() -> None:
    images = noise(64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resize = make_resizer("PIL", False, "bicubic", (299, 299))
        expected = np.stack([resize(image.permute(1, 2, 0).numpy()) for image in images])
    assert np.abs(resize_clean(images, 299).permute(0, 2, 3, 1).numpy() - expected).max() < 2e-4


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_tf1_equals_torch_fidelity(height: int, width: int, size: int) -> None:
    images = noise(height, width)
    expected = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(size, size), align_corners=False)
    torch.testing.assert_close(resize_tf1(images, size), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("resize", [resize_clean, resize_tf1])
def test_same_size_is_the_identity(resize: object) -> None:
    images = noise(64, 64)
    torch.testing.assert_close(resize(images, 64), images.float(), rtol=0, atol=1e-3)  # type: ignore[operator]


def test_the_two_resizes_differ() -> None:
    images = noise(64, 64)
    assert (resize_clean(images, 128) - resize_tf1(images, 128)).abs().mean() > 2.0


@pytest.mark.parametrize(("height", "width", "size"), [*SIZES, (64, 64, 64)])
@pytest.mark.parametrize("corners", [False, True])
def test_bilinear_equals_pytorch(height: int, width: int, size: int, corners: bool) -> None:
    images = noise(height, width)
    expected = functional.interpolate(images.float(), size=(size, size), mode="bilinear", align_corners=corners)
    result = (resize_corners if corners else resize_bilinear)(images, size)
    torch.testing.assert_close(result, expected, rtol=0, atol=4e-3)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_pillow_equals_torchvision(height: int, width: int, size: int) -> None:
    for image in noise(height, width):
        expected = Resize([size, size])(Image.fromarray(image.permute(1, 2, 0).numpy()))
        assert torch.equal(resize_pillow(image, size), torch.from_numpy(np.array(expected)).permute(2, 0, 1).float())


def inputs(name: str, images: torch.Tensor, image_size: int | None = None) -> torch.Tensor:
    """Return what a network sees of images under a preprocessing."""
    network = Bare("bare", ["x"], preprocessing=name, image_size=image_size)
    return network.prepare(list(images))


class Bare(ImageFeatures):
    """No network: what would be its input is looked at."""

    default_input_size = 299
    dimensions: ClassVar[dict[str, int]] = {"x": 1}
    preprocessings: ClassVar[tuple[str, ...]] = tuple(PREPROCESSINGS)

    def build(self, weights_path: object) -> nn.Module:
        return nn.Identity()

    def fold_norms(self) -> None:
        pass

    def activations(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        raise NotImplementedError


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(("height", "width", "side"), [(64, 64, None), (64, 64, 64), (100, 90, 64), (40, 64, 128)])
def test_stargan_v2_resizes_twice_and_normalises_for_imagenet(height: int, width: int, side: int | None) -> None:
    images = noise(height, width)
    steps = [Resize([299, 299]), ToTensor(), Normalize(**IMAGENET)]
    chain = Compose([Resize([side, side]), *steps] if side else steps)
    expected = [chain(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images]
    torch.testing.assert_close(inputs("stargan-v2", images, side), torch.stack(expected), rtol=0, atol=1e-5)


def test_the_first_resize_is_seen() -> None:
    images = noise(100, 100)
    assert (inputs("stargan-v2", images, 32) - inputs("stargan-v2", images)).abs().max() > 0.5
    assert torch.equal(inputs("stargan-v2", images, 100), inputs("stargan-v2", images))
    # No other preprocessing knows that size.
    assert torch.equal(inputs("deepi2i", images, 32), inputs("deepi2i", images))


def test_deepi2i_normalises_and_then_resizes_with_aligned_corners() -> None:
    images = noise(64, 64)
    x = images.double() / 127.5 - 1.0  # what its generator puts out
    mean, deviation = (torch.tensor(values).double().view(3, 1, 1) for values in IMAGENET.values())
    x = ((x + 1.0) / 2.0 - mean) / deviation
    expected = functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=True)
    torch.testing.assert_close(inputs("deepi2i", images).double(), expected, rtol=0, atol=1e-4)


def test_pytorch_fid_resizes_and_then_scales_to_one() -> None:
    images = noise(64, 64)
    x = functional.interpolate(images.double() / 255.0, size=(299, 299), mode="bilinear", align_corners=False)
    torch.testing.assert_close(inputs("pytorch-fid", images).double(), 2.0 * x - 1.0, rtol=0, atol=1e-4)
    early = [x[:, i] * (s / 0.5) + (m - 0.5) / 0.5 for i, (m, s) in enumerate(zip(*IMAGENET.values(), strict=True))]
    result = inputs("pytorch-fid-2018", images).double()
    torch.testing.assert_close(result, torch.stack(early, 1), rtol=0, atol=1e-4)
