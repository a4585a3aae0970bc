"""A small segmenter for label maps that no public parser knows: trained on real pairs, deterministic, one file."""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save
from torch import Tensor, nn

from kdx2i.bounds import NETWORK_RESOLUTION, SEGMENTER_WIDTH
from kdx2i.errors import UserError
from kdx2i.files import write_bytes
from kdx2i.foreign import refusing, require_plain
from kdx2i.metrics.extractors.resize import resize_clean
from kdx2i.metrics.network_file import read_network
from kdx2i.metrics.segmentation.bisenet import ConvBNReLU, ohem_loss
from kdx2i.metrics.segmentation.settings import SegmenterSettings

_FORMAT = "kdx2i-segmenter-1"
_FACTOR = 8  # the coarsest features are at 1/8 of the image's size


class UNet(nn.Module):
    """Encoder and decoder with skip connections at 1/2, 1/4 and 1/8 of the size.

    Each 2 x 2 block of pixels enters as one position with 12 channels and leaves as four predictions, which costs
    a quarter of a network at full size.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.stem = nn.Sequential(ConvBNReLU(12, width), ConvBNReLU(width, width))
        steps = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(nn.Sequential(ConvBNReLU(a, b), ConvBNReLU(b, b)) for a, b in steps)
        self.up = nn.ModuleList(ConvBNReLU(a + b, a) for a, b in steps)
        self.head = nn.Conv2d(width, 4 * classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes, H, W) of images (B, 3, H, W) in [-1, 1]."""
        skips = [self.stem(functional.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))]
        for layer in self.down:
            skips.append(layer(functional.avg_pool2d(skips[-1], 2)))
        y = skips.pop()
        for layer in reversed(list(self.up)):
            y = layer(torch.cat([skips.pop(), functional.interpolate(y, scale_factor=2, mode="nearest")], dim=1))
        return functional.pixel_shuffle(self.head(y), 2)


class _Header(BaseModel):
    """What the file of a segmenter says of it."""

    model_config = ConfigDict(strict=True)

    settings: SegmenterSettings
    classes: list[str] = Field(min_length=1, max_length=256)
    resolution: int = Field(ge=_FACTOR, le=NETWORK_RESOLUTION)
    samples: int


@dataclass(frozen=True)
class TrainedSegmenter:
    """A `kdx2i.metrics.segmentation.mean_iou.Segmenter` of one dataset at one resolution.

    `samples` is the number of pairs that it was trained on.
    """

    settings: SegmenterSettings
    classes: tuple[str, ...]
    resolution: int
    samples: int
    network: UNet
    name: str = "trained-unet"

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of its tensors in safetensors format."""
        return hashlib.sha256(save(self._tensors())).hexdigest()

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value.contiguous().cpu() for name, value in self.network.state_dict().items()}

    def segment(self, images: Tensor) -> Tensor:
        """Return label maps uint8 (B, R, R) on the CPU of uint8 images (B, 3, H, W), resized where they differ."""
        size = self.resolution
        resized = images if tuple(images.shape[2:]) == (size, size) else resize_clean(images, size)
        device = next(self.network.parameters()).device
        with torch.no_grad(), torch.backends.cudnn.flags(True, deterministic=True, allow_tf32=False):
            maps = self.network(resized.to(device).float() / 127.5 - 1.0).argmax(1)
        return maps.to("cpu", torch.uint8)  # type: ignore[no-any-return]

    def save(self, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Write it as safetensors, atomically; `metadata` (JSON values) is kept beside its own."""
        header = {
            "format": _FORMAT,
            "settings": self.settings.model_dump(),
            "classes": list(self.classes),
            "resolution": self.resolution,
            "samples": self.samples,
        }
        text = json.dumps({**(metadata or {}), **header}, sort_keys=True, allow_nan=False)
        write_bytes(path, save(self._tensors(), metadata={"kdx2i": text}))


def load_segmenter(path: Path, device: str | torch.device = "cpu") -> TrainedSegmenter:
    """Return the segmenter that `TrainedSegmenter.save` wrote; `UserError` for a missing or damaged file."""
    if require_plain(path) is None:
        raise UserError(f"{path} does not exist; train the segmenter first")
    tensors, metadata = read_network(path)
    kind = metadata.get("format")
    if kind != _FORMAT:
        holds = f"a {kind}" if isinstance(kind, str) else "something else"
        raise UserError(f"{path} is no segmenter: it holds {holds}, and `kdx2i segmenter` trains one")
    with refusing(f"{path} is not a readable segmenter"):
        header = _Header.model_validate({key: metadata.get(key) for key in _Header.model_fields})
        if header.settings.width > SEGMENTER_WIDTH or header.resolution % _FACTOR:
            raise ValueError(f"a width of {header.settings.width}, or images of {header.resolution} pixels")
        network = UNet(header.settings.width, len(header.classes))
        network.load_state_dict(tensors)
    network.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return TrainedSegmenter(header.settings, tuple(header.classes), header.resolution, header.samples, network)


def train_segmenter(
    images: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    settings: SegmenterSettings,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> TrainedSegmenter:
    """Return a segmenter trained on uint8 images (n, 3, R, R) and their label maps uint8 (n, R, R), n >= 2.

    The initial weights, the order and the augmentation come from `seed` alone; the global random state is left as
    it was. `UserError` for fewer pairs, labels outside the classes, or a size that is no multiple of 8.
    """
    count, size = images.shape[0], images.shape[2]
    if count < 2 or labels.shape != (count, *images.shape[2:]):
        raise UserError(f"a segmenter needs two or more images with label maps of their size, got {count}")
    if images.shape[2] != images.shape[3] or size % _FACTOR:
        raise UserError(f"a segmenter needs square images with sides that are multiples of {_FACTOR}, not {size}")
    if int(labels.max()) >= len(classes):
        raise UserError(f"label maps hold {int(labels.max())}, but the classes are 0 .. {len(classes) - 1}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = UNet(settings.width, len(classes))
    network.to(device).to(memory_format=torch.channels_last).train()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batches = max(1, count // settings.batch)
    total = settings.epochs * batches
    with torch.backends.cudnn.flags(True, benchmark=False, deterministic=True, allow_tf32=False):
        for step in range(total):
            if step % batches == 0:
                order = torch.randperm(count, generator=generator).tensor_split(batches)
            index = order[step % batches]
            x, y = _augmented(images[index].float() / 127.5 - 1.0, labels[index].long(), settings, generator)
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / total))
            least = int(settings.hard_share * y.numel())
            loss = ohem_loss(network(x.to(device)), y.to(device), settings.threshold, least)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    network.eval().requires_grad_(False)
    return TrainedSegmenter(settings, tuple(classes), size, count, network)


def _augmented(
    images: Tensor, labels: Tensor, settings: SegmenterSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return images (B, 3, R, R) and labels (B, R, R), mirrored and shifted together, the images recoloured."""
    count, reach, size = images.shape[0], settings.shift, images.shape[-1]
    both = torch.cat([images, labels[:, None].float()], dim=1)
    if settings.flip:
        chosen = torch.rand(count, generator=generator) < 0.5
        both = torch.where(chosen.view(-1, 1, 1, 1), both.flip(3), both)
    if reach:
        padded = functional.pad(both, (reach,) * 4, mode="replicate")
        places = torch.randint(0, 2 * reach + 1, (count, 2), generator=generator).tolist()
        both = torch.stack([p[:, t : t + size, s : s + size] for p, (t, s) in zip(padded, places, strict=True)])
    gain, offset = (settings.colour * (2.0 * torch.rand(count, 3, 1, 1, generator=generator) - 1.0) for _ in range(2))
    return both[:, :3] * (1.0 + gain) + offset, both[:, 3].long()
