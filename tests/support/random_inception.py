"""torchvision's Inception with random weights, in a file that passes for the published one."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.inception import Inception3

from kdx2i.metrics.extractors import weights
from kdx2i.metrics.extractors.networks import InceptionV3Torchvision


def random_torchvision(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, counts: bool = True
) -> tuple[Inception3, Path]:
    """Return torchvision's network with random weights, and a file with them that passes for the published one.

    Without `counts` the file lacks the batch counts of the norms, as files of before PyTorch 0.4.1 do.
    """
    torch.manual_seed(5)
    reference = Inception3(init_weights=False).eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features)
            module.running_var = 0.3 + 0.3 * torch.rand(module.num_features)
            module.bias.data = 0.1 * torch.randn(module.num_features)
    state = {name: value for name, value in reference.state_dict().items() if counts or "num_batches" not in name}
    path = folder / weights.TORCHVISION_FILES[0]
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(InceptionV3Torchvision, "sha256s", ("0" * 64, digest))
    monkeypatch.setattr(weights, "TORCHVISION_SHA256S", ("0" * 64, digest))
    return reference, path
