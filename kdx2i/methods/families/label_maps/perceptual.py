"""The perceptual loss of SPADE, SEAN and OASIS: layers of VGG19, or of a packaged stand-in."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.foreign import open_plain
from kdx2i.methods.families.label_maps.settings import PerceptualSettings
from kdx2i.metrics.extractors.weights import LITE1_SHA256, find_lite1, load_verified, torch_checkpoints

WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Of the five layers (`VGGLoss`)."""
VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_VARIABLE = "KDX2I_VGG19_WEIGHTS"
_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)
"""Convolutions of VGG19 by their width; 0 halves the size."""
SLICES = ((0, 2), (2, 7), (7, 12), (12, 21), (21, 30))
"""Layers of `features` up to relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1."""
STAND_IN = "efficientnet-lite1"
_STAND_IN_BLOCKS = (0, 3, 6, 14, 20)


class Vgg19(nn.Module):
    """VGG19 without its classifier; tensors have torchvision's names `features.<n>.weight`.

    `slices` are the ranges of its layers after which a feature is returned. Images go in as they are, in [-1, 1]: the
    official loss does not normalise them as ImageNet's.
    """

    def __init__(self, slices: Sequence[tuple[int, int]] = SLICES) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in _WIDTHS:
            if width:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            else:
                layers.append(nn.MaxPool2d(2))
        if any(end != start for (_, end), (start, _) in pairwise(slices)):
            raise ValueError("slices of a network follow each other")
        self.features, self.slices = nn.Sequential(*layers), tuple(slices)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> a feature [B, C, h, w] a slice."""
        outputs = []
        for start, end in self.slices:
            x = self.features[start:end](x)
            outputs.append(x)
        return outputs


class StandIn(nn.Module):
    """EfficientNet-lite1 as its package has it, read after the last block at each of the strides 2, 4, 8, 16 and 32.

    Its input is (pixel - 127) / 128, so nearly an image in [-1, 1] as it is.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> five features [B, C, h, w]."""
        network: Any = self.network
        x = network._swish(network._bn0(network._conv_stem(x)))
        outputs = []
        for number, block in enumerate(network._blocks):
            x = block(x)
            if number in _STAND_IN_BLOCKS:
                outputs.append(x)
        return outputs


class PerceptualLoss(nn.Module):
    """`VGGLoss`: the weighted mean absolute differences of a frozen network's features."""

    def __init__(self, network: nn.Module, weights: Sequence[float] = WEIGHTS) -> None:
        super().__init__()
        self.network, self.weights = network.eval().requires_grad_(False), tuple(weights)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss, a scalar, of images x and y [B, 3, H, W] in [-1, 1]; y is a constant."""
        with torch.no_grad():
            wanted = self.network(y.detach())
        losses = [w * F.l1_loss(a, b) for w, a, b in zip(self.weights, self.network(x), wanted, strict=True)]
        return torch.stack(losses).sum()


def build_perceptual(settings: PerceptualSettings, device: torch.device) -> PerceptualLoss:
    """Return the perceptual loss that the settings name; `UserError` where its weights are missing or others."""
    network: nn.Module = load_vgg19(settings.vgg19_weights) if settings.perceptual == "vgg19" else load_stand_in()
    return PerceptualLoss(network).to(device)


def load_vgg19(explicit: str | os.PathLike[str] | None = None) -> Vgg19:
    """Return VGG19 with torchvision's ImageNet weights.

    Their file is `explicit`, or what KDX2I_VGG19_WEIGHTS names, or in torch's cache, and never downloaded. torchvision
    puts the first digits of the SHA-256 into its name; they must be those of its bytes. `UserError` with the command
    that fetches the file where it is missing or another.
    """
    target = torch_checkpoints() / VGG19_FILE
    advice = f"fetch it with: curl -fL --create-dirs -o {target} https://download.pytorch.org/models/{VGG19_FILE}"
    advice += f", or set `perceptual: {STAND_IN}`"
    path = Path(explicit or os.environ.get(VGG19_VARIABLE) or target)
    try:
        with open_plain(path) as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    except (UserError, OSError):
        raise UserError(f"the weights of VGG19 are not at {path}; {advice}", whole=True) from None
    prefix = Path(VGG19_FILE).stem.rsplit("-", 1)[1]
    if not sha256.startswith(prefix):
        raise UserError(f"the weights file {path} has SHA-256 {sha256}, expected {prefix}...; {advice}", whole=True)
    with torch.device("meta"):  # Drawing weights that are replaced at once would take most of the time.
        network = Vgg19()
    network.load_state_dict(features_of(load_verified(path, sha256, advice), path), assign=True)
    return network


def features_of(state: Mapping[str, Tensor], where: object) -> dict[str, Tensor]:
    """Return the convolutions of torchvision's VGG19 (`features.<n>.*`) without its classifier.

    `UserError` which names `where` for tensors of another network.
    """
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in Vgg19().state_dict().items()}
    found = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    if expected != {name: tensor.shape for name, tensor in found.items()}:
        raise UserError(f"{where} does not hold the weights of VGG19")
    return found


def load_stand_in() -> StandIn:
    """Return the packaged EfficientNet-lite1 with its ImageNet weights; `UserError` where the package is missing."""
    from efficientnet_lite_pytorch import EfficientNet

    path, advice = find_lite1()
    network: Any = EfficientNet.from_name(STAND_IN)
    network.load_state_dict(load_verified(path, LITE1_SHA256, advice))
    return StandIn(network)
