"""Small networks with fixed random weights, so that no test needs a download or a slow network."""

import os
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from kdx2i.metrics.extractors.extractor import Extractor, build_extractor
from kdx2i.metrics.extractors.networks import ImageFeatures

DIMENSION = 12


def random_network() -> nn.Module:
    """Return a small convolutional network with fixed random weights: (B, 3, S, S) to (B, DIMENSION)."""
    generator = torch.Generator().manual_seed(7)
    layers = nn.Sequential(nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.Conv2d(16, DIMENSION, 3, stride=2), nn.ReLU())
    for parameter in layers.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval().requires_grad_(False)


class RandomFeatures(ImageFeatures, FeatureExtractorBase):
    """This package's kind of extractor over the random network."""

    default_input_size = 32
    dimensions = {"pool": DIMENSION}
    feature_layer = "pool"

    def build(self, weights_path: object) -> nn.Module:
        return random_network()

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        return {"pool": self.network(x)}

    def fold_norms(self) -> None:
        pass


class PlainFeatures(FeatureExtractorBase):
    """A plain torch-fidelity extractor over the same network, with that library's own resize."""

    def __init__(self, name: str, features_list: list[str], **kwargs: object) -> None:
        super().__init__(name, features_list)
        self.network = random_network()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("pool",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "pool"

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)
        return (self.network((x - 128) / 128),)


for name, cls in (("tests-random", RandomFeatures), ("tests-plain", PlainFeatures)):
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(name, cls)


@pytest.fixture
def network() -> nn.Module:
    return random_network()


@pytest.fixture
def random_features() -> type[ImageFeatures]:
    """Return the class of this package's random extractor (built with name, layers and resize settings)."""
    return RandomFeatures


@pytest.fixture(scope="session")
def extractor() -> Extractor:
    return build_extractor("tests-random")


def make_images(count: int, size: int, seed: int) -> Tensor:
    """Return smooth random images, uint8 (count, 3, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator) * 255.0
    fine = functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    noise = 20.0 * torch.randn(fine.shape, generator=generator)
    return (fine + noise).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture
def images() -> object:
    return make_images


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Run on one thread: the tensors are small and other jobs may be running."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    yield
    torch.set_num_threads(before)
