"""torch-fidelity's Inception network with random weights, and folders of random images: nothing to download."""

from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as functional
from PIL import Image
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as library

CLASSES = 10
SIZE = 64


def save_random_inception(path: Path) -> nn.Module:
    """Write a state dict of random weights with calibrated batch norms; return the network with them."""
    cls = library.FeatureExtractorInceptionV3
    torch.manual_seed(0)
    with (
        mock.patch.object(library, "load_state_dict_from_url", lambda *_, **__: {}),
        mock.patch.object(cls, "load_state_dict", lambda *_: None),
    ):
        network: nn.Module = cls("inception-v3-compat", ["2048"])
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the mean over what it sees
    with torch.no_grad():
        network(torch.cat([random_images(32, seed=seed) for seed in (0, 1)]))
    network.eval()
    torch.save(network.state_dict(), path)
    return network


def random_images(count: int, seed: int) -> torch.Tensor:
    """Return smooth images with noise, uint8 (count, 3, SIZE, SIZE); the seed moves their colours."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator) * (255.0 - 20.0 * seed % 100)
    fine = functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return (fine + 20.0 * torch.randn(fine.shape, generator=generator)).round().clamp(0, 255).to(torch.uint8)


def save_random_images(folder: Path, count: int, seed: int) -> None:
    """Write `count` PNG files, one sub-folder a class."""
    for number, image in enumerate(random_images(count, seed)):
        place = folder / f"class{number % CLASSES}" / f"{number:06}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place)
