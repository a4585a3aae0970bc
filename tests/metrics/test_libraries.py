"""End to end against clean-fid and torch-fidelity through their own interfaces, offline."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from cleanfid.fid import compute_fid, get_folder_features
from cleanfid.fid import kernel_distance as clean_kernel_distance
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from kdx2i.metrics.distances.frechet import frechet_distance
from kdx2i.metrics.distances.kernel import kernel_distance
from kdx2i.metrics.extractors.extractor import build_extractor
from kdx2i.metrics.extractors.networks import ImageFeatures
from kdx2i.metrics.images.embedding import Embedding, embed
from kdx2i.metrics.images.streams import open_images
from kdx2i.metrics.inception.score import inception_score

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
    computed = torch_fidelity.calculate_metrics(
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
    fid, kid = computed["frechet_inception_distance"], computed["kernel_inception_distance_mean"]
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


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two folders of images of two sizes, one sub-folder a class, 60 images of 12 features."""
    places = [tmp_path_factory.mktemp("set") for _ in range(2)]
    for seed, place in enumerate(places):
        generator = np.random.default_rng(seed)
        for number in range(60):
            pixels = generator.integers(0, 256 - 60 * seed, (40, 44, 3), dtype=np.uint8)
            (place / f"class{number % 3}").mkdir(exist_ok=True)
            Image.fromarray(pixels).resize((44, 40)).save(place / f"class{number % 3}" / f"{number:03}.png")
    return places


def embedded(folders: list[Path], name: str) -> list[Embedding]:
    return [embed(open_images(folder), [build_extractor(name)], logits=True)[0] for folder in folders]


@pytest.fixture
def with_logits(random_features: type[ImageFeatures]) -> Iterator[tuple[str, str]]:
    """Register extractors that give logits too, one of this engine and one of the library; return their names."""
    head = torch.randn(12, 7, generator=torch.Generator().manual_seed(3)) * 3.0

    class EngineFeatures(random_features):  # type: ignore[misc, valid-type]
        default_input_size = 299
        dimensions = {"pool": 12, "logits_unbiased": 7}

        def __init__(self, name: str, layers: list[str], **arguments: object) -> None:
            super().__init__(name, layers, preprocessing="tf1", **arguments)

        def activations(self, x: Tensor) -> dict[str, Tensor]:
            pooled = self.network(x)
            return {"pool": pooled, "logits_unbiased": pooled @ head}

    library_base = FEATURE_EXTRACTORS_REGISTRY["tests-plain"]

    class LibraryFeatures(library_base):  # type: ignore[misc, valid-type]
        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("pool", "logits_unbiased")

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits_unbiased" if metric == "isc" else "pool"

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            (pooled,) = super().forward(images)
            layers = {"pool": pooled, "logits_unbiased": pooled @ head}
            return tuple(layers[layer] for layer in self.features_list)

    names = ("tests-engine-logits", "tests-library-logits")
    for name, cls in zip(names, (EngineFeatures, LibraryFeatures), strict=True):
        register_feature_extractor(name, cls)
    yield names
    for name in names:
        del FEATURE_EXTRACTORS_REGISTRY[name]


def test_one_pass_over_folders_equals_torch_fidelity(folders: list[Path], with_logits: tuple[str, str]) -> None:
    """FID, KID and IS of the library's own call on folders, with its resize and its order of images."""
    of_engine, of_library = with_logits
    expected = torch_fidelity.calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        feature_extractor=of_library,
        isc=True,
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=60,
        samples_find_deep=True,
        batch_size=16,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    x, y = embedded(folders, of_engine)
    (same, _) = embedded(folders, of_library)  # the library's extractor in this engine
    assert x.logits is not None and same.logits is not None
    assert (same.logits[:] - x.logits[:]).abs().max() < 1e-4
    assert expected["frechet_inception_distance"] > 0.01
    assert frechet_distance(x.features, y.features) == pytest.approx(expected["frechet_inception_distance"], abs=1e-3)
    assert kernel_distance(x.features, y.features) == pytest.approx(
        expected["kernel_inception_distance_mean"], abs=1e-5
    )
    score = inception_score(x.logits, splits=10, shuffle_seed=2020)
    assert score.mean == pytest.approx(expected["inception_score_mean"], rel=1e-5)
    assert score.std == pytest.approx(expected["inception_score_std"], rel=1e-3)
    assert score.mean > 1.001


def test_one_pass_over_folders_equals_clean_fid(
    folders: list[Path], network: nn.Module, random_features: type[ImageFeatures]
) -> None:
    """FID by clean-fid's own call; KID by its function, whose subsets hold every image of so small a set."""

    class EngineFeatures(random_features):  # type: ignore[misc, valid-type]
        default_input_size = 299

    register_feature_extractor("tests-engine-clean", EngineFeatures)
    try:
        x, y = embedded(folders, "tests-engine-clean")
    finally:
        del FEATURE_EXTRACTORS_REGISTRY["tests-engine-clean"]
    settings = {"mode": "clean", "num_workers": 0, "batch_size": 16, "device": torch.device("cpu"), "verbose": False}

    def embed_as_clean_fid(batch: Tensor) -> Tensor:
        return network((batch - 128) / 128)  # type: ignore[no-any-return]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fid = compute_fid(*map(str, folders), custom_feat_extractor=embed_as_clean_fid, **settings)
        library_features = [get_folder_features(str(folder), embed_as_clean_fid, **settings) for folder in folders]
    assert frechet_distance(x.features, y.features) == pytest.approx(float(np.real(fid)), abs=1e-3)
    kid = clean_kernel_distance(*library_features, num_subsets=2)
    assert kernel_distance(x.features, y.features) == pytest.approx(kid, abs=1e-5)
