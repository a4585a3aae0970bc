"""Image encoders by their trunk: the official Inception, a packaged network in its place, or a small one of our own."""

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.encoders.damsm.image_encoder import CNNEncoder, ImageEncoder
from kdx2i.encoders.damsm.settings import DamsmSettings
from kdx2i.errors import UserError
from kdx2i.metrics.extractors.weights import (
    LITE1_SHA256,
    TORCHVISION_SHA256S,
    find_lite1,
    find_torchvision,
    load_verified,
)

_LITE_REGIONS, _LITE_POOLED, _LITE_STRIDE = 112, 1280, 16


class SmallEncoder(ImageEncoder):
    """Convolutions that are trained with the encoder: regions at an eighth of the size, last maps at a sixteenth."""

    trained_trunk = True

    def __init__(self, nef: int, width: int, size: int) -> None:
        super().__init__(nef, 4 * width, 8 * width)
        self.size = size
        widths = (3, width, 2 * width, 4 * width, 8 * width)
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))
            for a, b in pairwise(widths)
        )

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W], resized to S px -> maps [B, 4 W, S / 8, S / 8] and [B, 8 W, S / 16, S / 16]."""
        x = resized(x, self.size)
        regions = x
        for number, step in enumerate(self.steps):
            x = step(x)
            regions = x if number == 2 else regions
        return regions, x


class LiteEncoder(ImageEncoder):
    """EfficientNet-lite1 of ImageNet, frozen and always in evaluation mode, in the place of Inception.

    It is a stand-in: not the network of the paper, and not one that scores (that is EfficientNet-lite0).
    """

    def __init__(self, nef: int, size: int) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__(nef, _LITE_REGIONS, _LITE_POOLED)
        self.size = size
        self.trunk: nn.Module = EfficientNet.from_name("efficientnet-lite1")
        del self.trunk._fc
        self.freeze_trunk()

    def train(self, mode: bool = True) -> "LiteEncoder":
        """Set the mode of the layers on top."""
        super().train(mode)
        self.trunk.eval()
        return self

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W], resized to S px -> maps [B, 112, S / 16, S / 16] and [B, 1280, S / 32, S / 32]."""
        # Grey levels less 127, divided by 128, as in its published training.
        x = (resized(x, self.size) * 127.5 + 0.5) / 128
        net: dict[str, Callable[[Tensor], Tensor]] = dict(self.trunk.named_children())  # type: ignore[arg-type]
        x = net["_swish"](net["_bn0"](net["_conv_stem"](x)))
        regions = x
        for block in self.trunk.get_submodule("_blocks").children():
            x = block(x)
            regions = x if self.size // x.shape[-1] == _LITE_STRIDE else regions
        return regions, net["_swish"](net["_bn1"](net["_conv_head"](x)))


def resized(x: Tensor, size: int) -> Tensor:
    """Return images [B, 3, H, W] as [B, 3, size, size], bilinearly; smaller ones with antialiasing."""
    if tuple(x.shape[2:]) == (size, size):
        return x
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False, antialias=x.shape[-1] > size)


def build_image_encoder(settings: DamsmSettings) -> ImageEncoder:
    """Return the image encoder of the settings, from torch's global generator; a published trunk lacks its weights."""
    if settings.trunk == "small":
        return SmallEncoder(settings.dimension, settings.small_width, settings.input_size)
    if settings.trunk == "efficientnet-lite1":
        if settings.input_size % 32:
            raise UserError(f"input_size {settings.input_size} is wrong for efficientnet-lite1: it is a multiple of 32")
        return LiteEncoder(settings.dimension, settings.input_size)
    return CNNEncoder(settings.dimension)


def load_trunk(encoder: ImageEncoder, settings: DamsmSettings) -> None:
    """Give a trunk its published weights, whose bytes are compared; `UserError` names the file that is not there."""
    explicit = settings.trunk_weights
    if isinstance(encoder, LiteEncoder):
        path, advice = find_lite1(explicit)
        state = load_verified(path, LITE1_SHA256, advice)
        encoder.trunk.load_state_dict({key: value for key, value in state.items() if not key.startswith("_fc.")})
    elif isinstance(encoder, CNNEncoder):
        path, advice = find_torchvision(explicit)
        encoder.load_trunk(load_verified(path, TORCHVISION_SHA256S, advice))
    elif explicit is not None:
        raise UserError("the trunk `small` has no published weights: leave `trunk_weights` out")


def frozen_statistics(encoder: ImageEncoder) -> None:
    """Keep the batch norms of a frozen trunk at their published statistics, also in training mode."""
    if not encoder.trained_trunk:
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
