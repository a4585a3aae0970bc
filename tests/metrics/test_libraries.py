"""End to end against clean-fid and torch-fidelity through their own interfaces, offline."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from cleanfid.fid import compute_fid
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from kdx2i.metrics.frechet import frechet_distance
from kdx2i.metrics.kernel import kernel_distance
from kdx2i.metrics.networks import ImageFeatures

COUNT, SIZE = 40, 48  # more images than the 12 features: both libraries are exact there


class Memory(Dataset[Tensor]):
    """Images in memory, as torch-fidelity takes them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


@pytest.fixture
def pair(images: object) -> tuple[Tensor, Tensor]:
    second = images(COUNT, SIZE, 2)  # type: ignore[operator]
    return images(COUNT, SIZE, 1), (second // 2) + 40  # type: ignore[operator]


def features(cls: type[ImageFeatures], preprocessing: str, pair: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return both sets' features at 299 pixels under one of the two preprocessings."""
    extractor = cls("tests-random", ["pool"], preprocessing=preprocessing, input_size=299)  # type: ignore[arg-type]
    with torch.no_grad():
        return [extractor(images)[0] for images in pair]


def test_torch_fidelity(pair: tuple[Tensor, Tensor], random_features: type[ImageFeatures]) -> None:
    found = torch_fidelity.calculate_metrics(
        input1=Memory(pair[0]),
        input2=Memory(pair[1]),
        feature_extractor="tests-plain",
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=COUNT,  # the full set: one subset, no sampling noise
        batch_size=16,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    x, y = features(random_features, "tf1", pair)
    fid, kid = found["frechet_inception_distance"], found["kernel_inception_distance_mean"]
    assert fid > 0.01
    assert frechet_distance(x, y) == pytest.approx(fid, abs=1e-3, rel=1e-4)
    assert kernel_distance(x, y) == pytest.approx(kid, abs=1e-5)


def test_clean_fid(
    pair: tuple[Tensor, Tensor], tmp_path: Path, network: nn.Module, random_features: type[ImageFeatures]
) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, images in zip(folders, pair, strict=True):
        folder.mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:03}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fid = compute_fid(
            *map(str, folders),
            mode="clean",
            num_workers=0,
            batch_size=16,
            device=torch.device("cpu"),
            custom_feat_extractor=lambda batch: network((batch - 128) / 128),
            verbose=False,
        )
    x, y = features(random_features, "clean", pair)
    assert fid > 0.01
    assert frechet_distance(x, y) == pytest.approx(float(np.real(fid)), abs=1e-3, rel=1e-4)
