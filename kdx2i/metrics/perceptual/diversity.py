"""Diversity of Table 5: LPIPS between outputs of the same source, without a loop over pairs."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.perceptual.trunks import STAND_IN, PerceptualNetwork
from kdx2i.metrics.threads import single_thread

_Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


def mean_pair_distance(images: Tensor, network: PerceptualNetwork) -> float:
    """Return the mean distance over all pairs of uint8 images (K, 3, H, W), K >= 2.

    The distance is a weighted squared difference of activations, and the mean squared difference over all pairs
    of K numbers is twice their unbiased variance: each image is embedded once and no pair is visited.
    """
    count = images.shape[0]
    total = torch.zeros((), dtype=torch.float64, device=network.device)
    for layer, head in zip(network.activations(images), network.heads, strict=True):
        values = layer.double()
        spread = (values - values.mean(0)).square_().sum(0).mean((1, 2))
        total += (spread * head).sum()
    return 2.0 / (count - 1) * float(total)


def diversity(images: Tensor | Iterable[Tensor], network: PerceptualNetwork) -> dict[str, Any]:
    """Return the entry LPIPS: mean over the pairs of each source's outputs, then over sources.

    `images` is uint8 (S, K, 3, H, W), or an iterable of one (K_s, 3, H, W) a source, read one source at a time.
    Higher is more diverse. The standard error treats the sources as independent; None for one source. Without
    sources, or with a source of one output, the value is None with a reason. `UserError` for other images.

    StarGAN v2 (metrics/lpips.py) takes 10 outputs a source and the unclamped floats of the generator; here they
    are 8-bit images, as every other metric sees them.
    """
    distances, outputs = [], []
    with single_thread():
        for group in images:
            if group.dtype != torch.uint8 or group.ndim != 4 or group.shape[1] != 3:
                raise UserError(
                    f"diversity needs uint8 images (K, 3, H, W) of each source, got {group.dtype} {tuple(group.shape)}"
                )
            outputs.append(group.shape[0])
            if group.shape[0] >= 2:
                distances.append(mean_pair_distance(group, network))
    entry = {
        "n_sources": len(outputs),
        "n_generated": sum(outputs),
        "outputs_per_source": [min(outputs), max(outputs)] if outputs else [0, 0],
        "lpips_network": network.name,
        "lpips_sha256": network.sha256,
        "lpips_normalisation": network.normalisation,
        "stand_in": network.name == STAND_IN,
    }
    if not outputs or len(distances) < len(outputs):
        short = len(outputs) - len(distances)
        reason = f"{short} of {len(outputs)} sources have one output" if outputs else "there is no source"
        return {"value": None, "reason": f"diversity needs two outputs of each source: {reason}", **entry}
    value = math.fsum(distances) / len(distances)
    error = interval = None
    if len(distances) > 1:
        variance = math.fsum((each - value) ** 2 for each in distances) / (len(distances) - 1)
        error = math.sqrt(variance / len(distances))
        interval = [max(0.0, value - _Z95 * error), value + _Z95 * error]
    return {"value": value, "standard_error": error, "interval": interval, **entry}
