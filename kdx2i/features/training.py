"""Training of the feature network: classes of several data sets at once, and how damaged a drawing is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.optim import Optimizer

from kdx2i.features.damaged import damaged
from kdx2i.metrics.extractors.drawings import DrawingNetwork
from kdx2i.metrics.extractors.resize import resize_clean
from kdx2i.training.determinism import derive_seed
from kdx2i.training.optimizers import step_optimizers

_OTHERS = 6  # images that damage may mix


@dataclass(frozen=True)
class Drawings:
    """The training images of one data set, uint8 (N, 3, R, R), and their classes int64 (N,), 0 ... classes - 1."""

    images: Tensor
    labels: Tensor
    classes: int


@dataclass(frozen=True)
class FeatureSettings:
    """How the network is trained: see `kdx2i.features.recipes`."""

    iterations: int
    batch: int
    learning_rate: float
    weight_decay: float
    damaged: float
    input_size: int
    sizes: tuple[int, ...]


class FeatureTraining:
    """The `Trainable` of the feature network.

    Each data set has a head of its own, so that an image of two sets has no two answers: a softmax over the classes
    of the set that an image was drawn from and "degraded". The target of a damaged image is its class with the share
    that is left of it, and "degraded" with the rest. Sets are drawn in proportion to the square root of their sizes,
    images of a set alike; half of the images are reduced to a smaller size first, as a preset of that size reads them.
    """

    def __init__(self, settings: FeatureSettings, sets: Sequence[Drawings], seed: int, device: torch.device) -> None:
        self.settings, self.sets, self.device = settings, sets, device
        self.starts = [sum(other.classes for other in sets[:number]) for number in range(len(sets))]
        self.outputs = sum(part.classes for part in sets) + 1
        torch.manual_seed(derive_seed(seed, "initialise"))
        self.network = DrawingNetwork(self.outputs).to(device).to(memory_format=torch.channels_last)
        self.networks: Mapping[str, nn.Module] = {"network": self.network}
        self.averages: Mapping[str, nn.Module] = {}
        optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.optimizers: Mapping[str, Optimizer] = {"network": optimizer}
        self.shares = torch.tensor([float(len(part.labels)) for part in sets]).sqrt()

    def training_step(self, step: int) -> dict[str, Tensor]:
        """One update on a batch; the rate rises over the first twentieth and falls as a cosine to zero."""
        progress = step / self.settings.iterations
        rate = self.settings.learning_rate * min(1.0, 20 * progress + 0.01) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimizers["network"].param_groups:
            group["lr"] = rate
        images, targets, allowed = self.draw()
        logits = self.network(images).masked_fill(~allowed, -1e4)
        loss = functional.cross_entropy(logits, targets)  # type: ignore[no-untyped-call]
        step_optimizers(loss, self.optimizers["network"])
        whole = targets[:, -1] == 0
        right = (logits.argmax(1) == targets.argmax(1))[whole].float().mean()
        return {"loss": loss, "right": right}

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a batch: inputs (B, 3, S, S) in [-1, 1], targets (B, outputs), and which outputs count (B, outputs)."""
        settings = self.settings
        chosen = torch.multinomial(self.shares, settings.batch, replacement=True).tolist()
        images = torch.empty(settings.batch, 3, settings.input_size, settings.input_size)
        targets = torch.zeros(settings.batch, self.outputs)
        allowed = torch.zeros(settings.batch, self.outputs, dtype=torch.bool)
        for position, number in enumerate(chosen):
            part, start = self.sets[number], self.starts[number]
            harmed = bool(torch.rand(()) < settings.damaged)
            index = torch.randint(len(part.labels), (_OTHERS if harmed else 1,))
            size = settings.sizes[int(torch.randint(len(settings.sizes), ()))]
            pixels = reduced(moved(part.images[index]), size)
            image, share = damaged(pixels) if harmed else (pixels, 0.0)
            images[position] = resize_clean(image, settings.input_size)[0]
            targets[position, start + int(part.labels[index[0]])] = 1.0 - share
            targets[position, -1] += share
            allowed[position, start : start + part.classes] = True
        allowed[:, -1] = True
        inputs = (images / 127.5 - 1.0).to(self.device).contiguous(memory_format=torch.channels_last)
        return inputs, targets.to(self.device), allowed.to(self.device)

    def ema_decay(self, step: int) -> float:
        """Return 0: there are no averages."""
        return 0.0

    @torch.no_grad()
    def preview(self) -> tuple[Tensor, int]:
        """A batch as the network sees it, 16 images a row."""
        return self.draw()[0].cpu(), 16

    def scalars(self) -> dict[str, float]:
        """Return nothing: all state is in tensors."""
        return {}

    def restore_scalars(self, values: Mapping[str, float]) -> None:
        """Take back nothing."""


def moved(images: Tensor) -> Tensor:
    """Return images uint8 (N, 3, R, R) mirrored or not and, half of the time, a crop of them enlarged; float32.

    A crop has at least 0.8 of a side. There is no finer motion: its interpolation would blur whole drawings too.
    """
    side = images.shape[-1]
    if torch.rand(()) < 0.5:
        images = images.flip(3)
    if torch.rand(()) < 0.5:
        return images.float()
    kept = int(torch.randint(math.ceil(0.8 * side), side + 1, ()))
    top, left = torch.randint(side - kept + 1, (2,)).tolist()
    return resize_clean(images[..., top : top + kept, left : left + kept], side)


def reduced(images: Tensor, size: int) -> Tensor:
    """Return images (N, 3, R, R) at most `size` pixels a side, float32 in [0, 255], as splits are read at that size."""
    if size >= images.shape[-1]:
        return images.float()
    return functional.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
