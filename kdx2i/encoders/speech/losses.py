"""The objective of the speech encoder: matching of images and utterances (`steps/trainer.py` of S2IGAN)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def matching_losses(images: Tensor, speech: Tensor, classes: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return the cross entropies image -> speech and speech -> image, scalars, of B pairs.

    Embeddings are [B, C] of any length, `classes` int64 [B]. Logits are cosines times `gamma`; a pair of one class
    that is not the pair itself takes no part.
    """
    norms = images.norm(dim=1)[:, None] * speech.norm(dim=1)[None, :]
    logits = gamma * (images @ speech.T) / norms.clamp(min=1e-8)
    others = (classes[:, None] == classes[None, :]) & ~torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    logits = logits.masked_fill(others, -torch.inf)
    own = torch.arange(len(classes), device=logits.device)
    return F.cross_entropy(logits, own), F.cross_entropy(logits.T, own)
