"""Networks whose features three losses compare: VGG19 as the official code has it, and a packaged stand-in.

Both take images [B, 3, R, R] in [-1, 1] and return five features at R, R/2, R/4, R/8 and R/16.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.config import find_root
from kdx2i.errors import UserError
from kdx2i.metrics.extractors.weights import LITE1_SHA256, find_lite1, load_verified
from kdx2i.teacher.official.state_dicts import load_official

BLOCKS = (2, 2, 4, 4, 4)
WIDTHS = (3, 64, 128, 256, 512, 512)
MEAN_BGR = (0.40760392, 0.45795686, 0.48501961)
LITE_SCALES = (100.0, 100.0, 100.0, 100.0, 100.0)


class VGG19(nn.Module):
    """VGG19 with Caffe's inputs (`VGG19_feature_color_torchversion` of `models/networks/architecture.py`).

    `pool` is `max` or `avg`; without `normal_correct` images are taken as in [0, 1] already. Its weights are the file
    `vgg/vgg19_conv.pth` of the official code.
    """

    def __init__(self, pool: str = "max", *, normal_correct: bool = True) -> None:
        super().__init__()
        if pool not in ("max", "avg"):
            raise ValueError(f"there is no pooling `{pool}`")
        self.pool, self.normal_correct = pool, normal_correct
        for block, (inputs, outputs) in enumerate(pairwise(WIDTHS), start=1):
            for layer in range(1, BLOCKS[block - 1] + 1):
                convolution = nn.Conv2d(inputs if layer == 1 else outputs, outputs, 3, padding=1)
                self.add_module(f"conv{block}_{layer}", convolution)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return relu1_2, 2_2, 3_2, 4_2 and 5_2 of RGB images [B, 3, R, R]; what follows the last one is not run."""
        x = (images + 1) / 2 if self.normal_correct else images
        x = 255 * (x.flip(1) - x.new_tensor(MEAN_BGR).reshape(1, 3, 1, 1))
        pool, features = F.max_pool2d if self.pool == "max" else F.avg_pool2d, []
        for block, layers in enumerate(BLOCKS, start=1):
            x = x if block == 1 else pool(x, 2, 2)
            for layer in range(1, (2 if block == len(BLOCKS) else layers) + 1):
                x = self.get_submodule(f"conv{block}_{layer}")(x).relu()
                if layer == 2:
                    features.append(x)
        return features


class LiteFeatures(nn.Module):
    """A stand-in for VGG19: the packaged EfficientNet-lite1, which judges no table.

    Images are enlarged twofold, so that the ends of its five sizes have VGG19's; a feature is multiplied by a constant
    that brings it to about the size of VGG19's on photographs, for which the losses' weights were chosen.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the last features of each size of images [B, 3, R, R]."""
        larger = F.interpolate(images, scale_factor=2.0, mode="bilinear", align_corners=False)
        net, features = self.network, []
        # (grey level - 127) / 128, as in its published training.
        x = net._swish(net._bn0(net._conv_stem((larger * 127.5 + 0.5) / 128)))
        for block in net._blocks:
            y = block(x)
            if y.shape[-1] != x.shape[-1]:
                features.append(x)
            x = y
        features.append(x)
        return [scale * feature for scale, feature in zip(LITE_SCALES, features, strict=True)]


def feature_network(kind: str, vgg19: str, device: torch.device) -> nn.Module:
    """Return the frozen feature network of that kind, `vgg19` or `efficientnet-lite1`, in evaluation mode.

    `vgg19` is the path of its weights, relative to the repository. `UserError` where weights or package are absent.
    """
    network = _vgg19(Path(vgg19)) if kind == "vgg19" else _lite1()
    return network.to(device).eval().requires_grad_(False)


def _vgg19(path: Path) -> VGG19:
    path = path if path.is_absolute() else find_root() / path
    if not path.is_file():
        raise UserError(
            f"cocosnet_v2 trains with VGG19, whose weights {path} do not exist: put the official vgg19_conv.pth there "
            "or set `train.perceptual` to efficientnet-lite1, a packaged stand-in"
        )
    network = VGG19()
    load_official(network, path)
    return network


def _lite1() -> LiteFeatures:
    from efficientnet_lite_pytorch import EfficientNet

    path, advice = find_lite1()
    network: Any = EfficientNet.from_name("efficientnet-lite1")
    network.load_state_dict(load_verified(path, LITE1_SHA256, advice))
    return LiteFeatures(network)
