"""Spoken images without files: coloured squares of three training classes and a test class, said by tones."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdx2i.data.rows import ImageRow
from kdx2i.encoders.speech import image_networks
from kdx2i.encoders.speech.encoder import SpeechEncoder
from kdx2i.encoders.speech.networks import Classifier, ImageHead, SpeechNetwork
from kdx2i.encoders.speech.settings import SpeechEncoderSizes
from kdx2i.tasks.conditions import SpeechCondition
from kdx2i.tasks.paired import PairedImages
from kdx2i.tasks.speech import OpenTask

CPU = torch.device("cpu")
CLASSES = ("blue", "green", "red", "white")
TEST_CLASS = "green"
EACH = 4
RATE = 22_050
NETWORK = "tests-colours"
SIZES = SpeechEncoderSizes(first=6, second=8, hidden=4, attention=5, image_network=NETWORK)


class Colours(nn.Module):
    """An image network without weights: the mean colours of four quarters, [B, 3, H, W] -> [B, 12]."""

    dimension = 12

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, 2).flatten(1)


def register(patch: pytest.MonkeyPatch) -> None:
    """Let encoders read images by `Colours`."""
    patch.setitem(image_networks.IMAGE_NETWORKS, NETWORK, lambda weights: Colours())
    patch.setitem(image_networks.DIMENSIONS, NETWORK, Colours.dimension)


def tone(label: int, number: int, samples: int = 4000) -> Tensor:
    """Return the utterance of an image, float32 (N,): the pitch tells its class, the length its number."""
    time = torch.arange(samples + 500 * number) / RATE
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(7 * label + number))
    return 0.3 * torch.sin(2 * torch.pi * 400.0 * (label + 1) ** 1.5 * time) + 0.01 * noise


class SpokenTask(OpenTask):
    """Four images of each class, uint8 side x side; each has two utterances."""

    def __init__(self, side: int = 32) -> None:
        pairs = sorted((label == TEST_CLASS, label, number) for label in CLASSES for number in range(EACH))
        self.resolution = side
        self.rows = [
            ImageRow(f"images/{label}{number}.png", label, "test" if test else "train", "", "", "", "")
            for test, label, number in pairs
        ]
        generator = torch.Generator().manual_seed(3)
        colours = {"blue": (0, 0, 220), "green": (0, 180, 0), "red": (220, 0, 0), "white": (230, 230, 230)}
        base = torch.tensor([colours[row.label] for row in self.rows], dtype=torch.float32)[:, :, None, None]
        spots = 40 * torch.rand(len(pairs), 3, 2, 2, generator=generator)
        spots = F.interpolate(spots, (side, side), mode="bilinear")
        self.images = (base + spots).clamp(0, 255).to(torch.uint8)

    @property
    def classes(self) -> list[str]:
        return sorted(CLASSES)

    def given(self, index: Tensor, draws: Tensor, references: Tensor | None, device: torch.device) -> SpeechCondition:
        said = []
        for number, draw in zip(index.tolist(), draws.tolist(), strict=True):
            label = CLASSES.index(self.rows[number].label)
            said.append(tone(label, number % EACH + EACH * int(2 * draw)).to(device))
        return SpeechCondition(tuple(said), RATE)


def paired(side: int = 32) -> PairedImages[SpeechCondition]:
    """Return what a method trains on."""
    return SpokenTask(side).training_data(CPU)


def encoder(sizes: SpeechEncoderSizes = SIZES, classes: int = 3) -> SpeechEncoder:
    """Return a random encoder of a few hundred parameters."""
    torch.manual_seed(11)
    networks = SpeechNetwork(sizes), ImageHead(Colours.dimension, sizes.embedding), Classifier(sizes.embedding, classes)
    return SpeechEncoder(sizes, *networks).to(CPU)


def encoder_file(folder: Path) -> Path:
    """Write a random encoder and return its path."""
    path = folder / "speech_encoder.safetensors"
    encoder().save(path)
    return path
