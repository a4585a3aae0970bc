"""The ResNet-18 classifier of RC and FC, trained on images; everything random comes from one seed."""

import math
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from kdx2i.errors import UserError
from kdx2i.metrics.extractors.resize import resize_clean
from kdx2i.metrics.extractors.weights import load_verified
from kdx2i.metrics.settings import ClassifierSettings

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def build_resnet(classes: int, settings: ClassifierSettings) -> nn.Module:
    """Return torchvision's resnet18 with `classes` outputs, started from `initial_weights` where given.

    `UserError` if that file is missing, has another checksum or holds another network.
    """
    from torchvision.models import resnet18

    network: nn.Module = resnet18(weights=None, num_classes=classes)
    if settings.initial_weights is None:
        return network
    advice = "correct classifier.initial_weights and its checksum in the preset"
    path = Path(settings.initial_weights)
    state = load_verified(path, settings.initial_weights_sha256 or "", advice)
    body = {name: value for name, value in state.items() if not name.startswith("fc.")}
    try:
        missing, unexpected = network.load_state_dict(body, strict=False)
    except RuntimeError:
        missing, unexpected = ["a tensor of the right shape"], []
    if unexpected or not set(missing) <= {"fc.weight", "fc.bias"}:
        raise UserError(f"{path} does not hold the weights of a resnet18; {advice}", whole=True)
    return network


def _normalise(images: Tensor, size: int | None) -> Tensor:
    """Return the network input of uint8 images (B, 3, H, W), resized to `size` unless None."""
    if size is not None and tuple(images.shape[-2:]) != (size, size):
        scaled = resize_clean(images, size) / 255.0
    else:
        scaled = images.float() / 255.0
    mean = torch.tensor(_MEAN, device=images.device).view(3, 1, 1)
    deviation = torch.tensor(_DEVIATION, device=images.device).view(3, 1, 1)
    return ((scaled - mean) / deviation).contiguous(memory_format=torch.channels_last)


def _augment(batch: Tensor, settings: ClassifierSettings, generator: torch.Generator) -> Tensor:
    """Return the batch (B, 3, S, S), mirrored at random (if `flip`) and shifted by up to `shift` pixels."""
    if settings.flip:
        chosen = torch.rand(batch.shape[0], generator=generator) < 0.5
        batch = torch.where(chosen.view(-1, 1, 1, 1).to(batch.device), batch.flip(3), batch)
    reach = settings.shift
    if not reach:
        return batch
    padded = functional.pad(batch, (reach,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * reach + 1, (batch.shape[0], 2), generator=generator).tolist()
    height, width = batch.shape[-2:]
    shifted = [
        image[:, top : top + height, left : left + width] for image, (top, left) in zip(padded, offsets, strict=True)
    ]
    return torch.stack(shifted)


def train_resnet(
    images: Tensor,
    labels: Tensor,
    classes: int,
    settings: ClassifierSettings,
    seed: int,
    device: torch.device,
) -> nn.Module:
    """Return a resnet18 trained on uint8 images (n, 3, H, W), n >= 2, by SGD with a cosine schedule.

    The initial weights, the order and the augmentation come from `seed` alone; the global random state is
    left as it was. Batches are even splits, so that none has a single image (batch-norm needs two).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = build_resnet(classes, settings)
    network.to(device).to(memory_format=torch.channels_last).train()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.momentum > 0,
    )
    count = images.shape[0]
    batches = max(1, count // settings.batch)
    total = settings.epochs * batches
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        for step in range(total):
            if step % batches == 0:
                order = torch.randperm(count, generator=generator).tensor_split(batches)
            index = order[step % batches]
            x = _normalise(images[index].to(device), settings.input_size)
            logits = network(_augment(x, settings, generator))
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / total))
            optimiser.zero_grad(set_to_none=True)
            functional.cross_entropy(logits, labels[index].to(device)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    network.eval().requires_grad_(False)
    return network


def resnet_logits(network: nn.Module, images: Tensor, size: int | None, batch: int = 64) -> Tensor:
    """Return the logits (N, classes) of uint8 images (N, 3, H, W) on the CPU."""
    device = next(network.parameters()).device
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.no_grad(), exact:
        logits = [network(_normalise(part.to(device), size)).cpu() for part in torch.split(images, batch)]
    return torch.cat(logits)
