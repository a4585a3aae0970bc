"""Frechet distance between Gaussians fitted to features (FID), exact in float64 for any n and d.

Source: Heusel et al. 2017, |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), covariances with ddof = 1.

With centred rows A = X1c / sqrt(n1 - 1) and B = X2c / sqrt(n2 - 1), S1 = A^T A and S2 = B^T B, and the
non-zero eigenvalues of S1 S2 are the squared singular values of A B^T. So

    tr (S1 S2)^(1/2) = || A B^T ||_*                          (nuclear norm: the sum of singular values)
    tr(S1 + S2 - 2 (S1 S2)^(1/2)) = min_Q || B - Q A ||_F^2   (orthogonal Procrustes)

with Q = V U^T of A B^T = U s V^T when A has no more rows than B.

The minimum is a sum of squares: never negative, never complex, no epsilon, and without the cancellation
that costs the trace form its digits when the two sets are close. Below full rank no d x d matrix is formed.
"""

from typing import Any

import torch
from torch import Tensor

from kdx2i.metrics.samples import feature_pair, split_by_class
from kdx2i.metrics.threads import single_thread


def _factor(centred: Tensor) -> Tensor:
    """Return F with F^T F = the covariance of `centred` (n, d); min(n, d) rows (thin QR when n > d)."""
    scaled: Tensor = centred / (centred.shape[0] - 1) ** 0.5
    if scaled.shape[0] <= scaled.shape[1]:
        return scaled
    triangle: Tensor = torch.linalg.qr(scaled, mode="r").R
    return triangle


def frechet_distance(x: Any, y: Any) -> float:
    """Return the Frechet distance between the feature sets x (n1, d) and y (n2, d), at least 0.

    Arrays or tensors of any real dtype; the arithmetic is float64. `UserError` for n < 2, unequal dimensions
    or values that are not finite. Memory: two copies of the features and a min(n1, d) x min(n2, d) matrix.
    """
    first, second = feature_pair(x, y)
    if first.shape[0] > second.shape[0]:  # symmetric: let the first be the smaller set
        first, second = second, first
    origin = first.mean(0)
    first, second = first - origin, second - origin
    means = first.mean(0), second.mean(0)
    a, b = _factor(first - means[0]), _factor(second - means[1])
    u, _, vh = torch.linalg.svd(a @ b.T, full_matrices=False)
    residual = b - vh.T @ (u.T @ a)
    return float((means[0] - means[1]).square().sum() + residual.square().sum())


def frechet_distance_per_class(x: Any, x_labels: Any, y: Any, y_labels: Any, num_classes: int) -> list[float]:
    """Return the Frechet distance of each class 0 .. num_classes - 1; their mean is mFID (FUNIT, DeepI2I).

    `x_labels` (n1,) and `y_labels` (n2,) hold class indices. `UserError` if a class has fewer than two
    samples.
    """
    pairs = zip(split_by_class(x, x_labels, num_classes), split_by_class(y, y_labels, num_classes), strict=True)
    with single_thread():
        return [frechet_distance(mine, other) for mine, other in pairs]
