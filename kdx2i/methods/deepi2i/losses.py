"""The objectives of DeepI2I on BigGAN (`DeepI2I_BigGAN/losses.py` of yaxingwang/DeepI2I)."""

import torch.nn.functional as F
from torch import Tensor


def discriminator_hinge(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two terms E[max(0, 1 - D(real))] and E[max(0, 1 + D(fake))] of logits [B]."""
    return F.relu(1 - real).mean(), F.relu(1 + fake).mean()


def generator_hinge(fake: Tensor) -> Tensor:
    """Return -E[D(fake)] of logits [B]."""
    return -fake.mean()
