"""The Frechet distance as BigGAN-PyTorch's evaluation computes it, which DeepI2I carries: float32 and Newton-Schulz.

Source: yaxingwang/DeepI2I, `DeepI2I_BigGAN/inception_utils.py` (`torch_calculate_frechet_distance`). The square root of
S1 S2 comes from 50 coupled steps T = (3 I - Z Y) / 2, Y <- Y T, Z <- T Z from Y = S1 S2 / |S1 S2|_F and Z = I. On an
eigenvalue y they are exact for y > 0 and run away for y < 0. Two covariances of too few images have a product whose
eigenvalues that should be 0 are rounding noise of both signs, so the steps end in values that are not finite, and the
code has no number. `kdx2i.metrics.distances.frechet` is what they approximate where they end well.
"""

from typing import Any

import torch
from torch import Tensor

from kdx2i.metrics.distances.samples import FeatureMatrix, blocks, feature_rows

STEPS = 50
_BLOCK = 1024  # rows read at a time


def newton_schulz_root(matrix: Tensor, steps: int = STEPS) -> Tensor | None:
    """Return the square root of a matrix (d, d) after `steps` in its own precision, None where it is not finite."""
    norm = matrix.square().sum().sqrt()
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    y, z = matrix / norm, identity
    for _ in range(steps):
        t = 0.5 * (3.0 * identity - z @ y)
        y, z = y @ t, t @ z
        if not bool(y.isfinite().all()):
            return None
    return y * norm.sqrt()


def newton_schulz_distance(generated: Any, real: Any, device: torch.device | str = "cpu") -> float | None:
    """Return the Frechet distance of `generated` (n1, d) and `real` (n2, d) in float32, None where there is none.

    The moments of the generated images are taken in float32, those of the real ones in float64 and rounded, as
    BigGAN-PyTorch's `calculate_inception_moments.py` stores them (DeepI2I's repository lacks that script). Errors as
    in `kdx2i.metrics.distances.frechet.frechet_distance`. Memory: both feature sets and a few (d, d) matrices.
    """
    first, second = feature_rows(generated, real)
    mean, covariance = _moments(_matrix(first).float().to(device))
    real_mean, real_covariance = (moment.float().to(device) for moment in _moments(_matrix(second)))
    root = newton_schulz_root(covariance @ real_covariance)
    if root is None:
        return None
    shift = mean - real_mean
    distance = shift @ shift + covariance.trace() + real_covariance.trace() - 2.0 * root.trace()
    return float(distance) if bool(distance.isfinite()) else None


def _matrix(rows: FeatureMatrix) -> Tensor:
    """Return all rows as float64 (n, d)."""
    return torch.cat([torch.from_numpy(part) for part in blocks(rows, _BLOCK)])


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (d,) and covariance (d, d), with n - 1, in the precision of features (n, d)."""
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)
