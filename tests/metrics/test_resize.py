"""The batched resizes against Pillow, clean-fid and torch-fidelity themselves."""

import warnings

import numpy as np
import pytest
import torch
from cleanfid.resize import make_resizer
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from kdx2i.metrics.extractors.resize import resize_clean, resize_tf1

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
