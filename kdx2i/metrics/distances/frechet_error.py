"""The standard error of a Frechet distance: delete-one jackknife in closed form.

Leaving out sample z (centred) of n changes its covariance by a rank-one term,
S' = (n - 1)/(n - 2) (S - n/(n - 1)^2 z z^T), so tr (S' S2)^(1/2) is that of Lambda - rho v v^T, where
S S2 has the eigenvalues Lambda and v are the coordinates of z in their basis. With
sqrt(a) - sqrt(b) = 1/pi * integral over u > 0 of log((a + u^2) / (b + u^2)) and the determinant of a rank-one
change, all n of them are one small matrix product:

    sum sqrt(eig(Lambda - rho v v^T)) - sum sqrt(Lambda) = 1/pi * int log(1 - rho sum_k v_k^2 / (Lambda_k + u^2)) du

No decomposition is repeated. For images that belong together (outputs of one source) the error is too small.
"""

from typing import Any

import numpy as np
import scipy.linalg

from kdx2i.metrics.distances.estimates import Estimate, normal_estimate
from kdx2i.metrics.distances.frechet import Gaussian, fitted, gaussian_distance
from kdx2i.metrics.distances.samples import Array

_STEP = 0.5  # in log u: the trapezoid rule is then exact to 1e-8 of the change
_BELOW_ONE = float(np.nextafter(1.0, 0.0))
_GRID = np.exp(np.arange(np.log(1e-7), np.log(1e4), _STEP))


def root_changes(eigenvalues: Array, squares: Array, rho: float) -> Array:
    """Return the change of sum sqrt(eigenvalues) when rho v v^T is taken away, for each v.

    `eigenvalues` (..., k) are at least 0, `squares` (..., n, k) hold v^2; the result is (..., n).
    """
    top = np.sqrt(eigenvalues.max(-1))[..., None]
    grid = np.where(top > 0, top, 1.0) * _GRID
    share = rho * (squares @ (1.0 / (eigenvalues[..., :, None] + np.square(grid)[..., None, :])))
    # Where a sample carries a direction alone, the determinant falls to zero and rounding may pass it.
    logs = np.log1p(-np.minimum(share, _BELOW_ONE))
    steps = np.full(_GRID.shape, _STEP)
    steps[-1] /= 2.0
    beyond = -rho * squares.sum(-1) / grid[..., -1:]  # the integrand's 1/u^2 tail
    changes: Array = ((logs * grid[..., None, :]) @ steps + beyond) / np.pi
    return changes


def jackknife_variance(
    lengths: Array, along: Array, traces: Any, roots: Any, squares: Array, eigenvalues: Array
) -> Any:
    """Return the jackknife variance (...) that one set's n samples add to the Frechet distance.

    `lengths` (..., n) are squared lengths of the centred samples, `along` (..., n) their products with the mean
    difference (own minus other), `traces` (...) the own summed variance, `roots` (...) the sum of
    sqrt(eigenvalues), `squares` and `eigenvalues` as in `root_changes`. n must be at least 3.
    """
    n = lengths.shape[-1]
    rho, growth = n / (n - 1) ** 2, (n - 1) / (n - 2)
    changed = roots[..., None] + root_changes(eigenvalues, squares, rho)
    left_out = growth * (traces[..., None] - rho * lengths) - 2.0 * growth**0.5 * changed
    left_out += lengths / (n - 1) ** 2 - 2.0 * along / (n - 1)
    return np.square(left_out - left_out.mean(-1, keepdims=True)).sum(-1) * (n - 1) / n


def _root(gaussian: Gaussian) -> Array:
    """Return F (k, d) with F^T F = the covariance: the centred rows, or a triangle where there are more than d."""
    if len(gaussian) <= gaussian.origin.shape[0]:
        return gaussian.factor()
    covariance = gaussian.covariance()
    try:
        return np.asarray(scipy.linalg.cholesky(covariance, check_finite=False))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(np.sqrt(values.clip(0.0))[:, None] * vectors.T)


def frechet_estimate(x: Any, y: Any) -> Estimate:
    """Return the Frechet distance of x (n1, d) and y (n2, d) with its jackknife error and 95 % interval.

    The interval is about the expectation at these sample counts: what another draw of as many images would
    give. It says nothing about the bias (see `kdx2i.metrics.distances.infinity`). None below three samples in a set.
    Costs one eigenvalue decomposition with vectors beyond `frechet_distance`. Errors as there.
    """
    first, second = fitted(x, y)
    value = gaussian_distance(first, second)
    if len(first) < 3:
        return normal_estimate(value, None)
    root = _root(first)
    product = np.zeros((len(root), len(root)))
    for part in second.scaled():
        cross = root @ part.T
        product += cross @ cross.T
    eigenvalues, vectors = np.linalg.eigh(product)
    rank = min(len(first) - 1, len(second) - 1, first.origin.shape[0])
    eigenvalues, vectors = eigenvalues[-rank:].clip(0.0), vectors[:, -rank:]
    keep = eigenvalues > 1e-14 * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[keep], vectors[:, keep]
    if not keep.any():
        eigenvalues, vectors = np.zeros(1), np.zeros((len(root), 1))
    basis = root.T @ vectors  # F2 basis / sqrt(eigenvalues) are the right vectors of the cross product
    roots, offset = np.asarray(np.sqrt(eigenvalues).sum()), first.offset(second)
    through = sum(part.T @ (part @ basis) for part in second.scaled()) / np.sqrt(np.where(keep.any(), eigenvalues, 1.0))
    variance = 0.0
    for gaussian, weights, sign in ((first, through, 1.0), (second, basis, -1.0)):
        pieces = []
        for part in gaussian.scaled():
            part *= (len(gaussian) - 1) ** 0.5
            pieces.append((np.square(part).sum(1), sign * (part @ offset), np.square(part @ weights)))
        lengths, along, squares = (np.concatenate(column) for column in zip(*pieces, strict=True))
        trace = np.asarray(gaussian.trace)
        variance += float(jackknife_variance(lengths, along, trace, roots, squares, eigenvalues))
    return normal_estimate(value, variance**0.5)
