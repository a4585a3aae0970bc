"""Frechet distance between Gaussians fitted to features (FID), in float64 for any n and d.

Source: Heusel et al. 2017, |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), covariances with ddof = 1.

With centred rows A = X1c / sqrt(n1 - 1) and B = X2c / sqrt(n2 - 1), S1 = A^T A and S2 = B^T B, and the
non-zero eigenvalues of S1 S2 are the squared singular values of A B^T. So

    tr (S1 S2)^(1/2) = || A B^T ||_*                          (nuclear norm: the sum of singular values)
    tr(S1 + S2 - 2 (S1 S2)^(1/2)) = min_Q || B - Q A ||_F^2   (orthogonal Procrustes)

with Q = V U^T of A B^T = U s V^T when A has no more rows than B. Two routes:

- The residual. A sum of squares: never negative or complex, no epsilon, and nearly equal sets keep the digits
  that traces would cancel. It needs a singular value decomposition with vectors.
- The trace, from eigenvalues of the symmetric A S2 A^T (n1 < d) or L^T S2 L with S1 = L L^T. Several times
  faster for large matrices. The square root of an eigenvalue near zero loses digits, so a bound on that loss
  is computed along, and where it is too large the residual is taken.

Below full rank no d x d matrix is formed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from kdx2i.errors import UserError
from kdx2i.metrics.distances.samples import Array, FeatureMatrix, block, blocks, by_class, feature_rows, take
from kdx2i.metrics.threads import single_thread

_BLOCK = 1024  # rows held at a time
_SMALL = 256  # up to here the residual costs next to nothing
_TOLERANCE = 1e-8  # relative error at which the trace is given up for the residual
LARGE_CLASS = 1024
"""Images of a class, of both sets, from which on distances come from blocks of rows."""
CANCELLED = 1e-6
"""Share of the traces below which a class's distance is taken from the residual."""
_ROUNDING = 16 * float(np.finfo(np.float64).eps)  # of an eigenvalue, relative to the largest


@dataclass(frozen=True)
class Gaussian:
    """A feature set with its mean and the trace of its covariance; rows are read in blocks when needed."""

    rows: FeatureMatrix
    origin: Array
    """The first row. Differences from it keep their digits where features lie far from zero."""
    shift: Array
    """The mean minus `origin`."""
    trace: float

    @classmethod
    def fit(cls, rows: FeatureMatrix) -> "Gaussian":
        """Return the mean and the summed variance of rows (n, d)."""
        origin = block(rows, 0, 1)[0]
        total = np.zeros_like(origin)
        for part in blocks(rows, _BLOCK):
            total += (part - origin).sum(0)
        shift = total / len(rows)
        squares = [float(np.square(part - origin - shift).sum()) for part in blocks(rows, _BLOCK)]
        return cls(rows, origin, shift, sum(squares) / (len(rows) - 1))

    def __len__(self) -> int:
        return len(self.rows)

    def scaled(self, size: int = _BLOCK) -> Any:
        """Yield the centred rows divided by sqrt(n - 1), in blocks: F^T F of all of them is the covariance."""
        for part in blocks(self.rows, size):
            centred = part - self.origin
            centred -= self.shift
            centred /= (len(self) - 1) ** 0.5
            yield centred

    def covariance(self) -> Array:
        """Return the covariance (d, d)."""
        return np.asarray(sum(part.T @ part for part in self.scaled()))

    def factor(self) -> Array:
        """Return F with F^T F = the covariance, of at most d rows when n > d (QR, block after block)."""
        if len(self) <= self.origin.shape[0]:
            return np.concatenate(list(self.scaled()))
        triangle = torch.empty(0, self.origin.shape[0], dtype=torch.float64)
        for part in self.scaled():
            triangle = torch.linalg.qr(torch.cat([triangle, torch.from_numpy(part)]), mode="r").R
        return triangle.numpy()

    def offset(self, other: "Gaussian") -> Array:
        """Return the mean minus that of another set."""
        return (self.origin - other.origin) + (self.shift - other.shift)


def fitted(x: Any, y: Any) -> tuple[Gaussian, Gaussian]:
    """Return both sets with their moments, the smaller one first (the distance is symmetric)."""
    first, second = feature_rows(x, y)
    if len(first) > len(second):
        first, second = second, first
    return Gaussian.fit(first), Gaussian.fit(second)


def _residual(first: Gaussian, second: Gaussian) -> float:
    """Return tr(S1 + S2 - 2 (S1 S2)^(1/2)) as a sum of squares."""
    a, b = (torch.from_numpy(gaussian.factor()) for gaussian in (first, second))
    if a.shape[0] > b.shape[0]:
        a, b = b, a
    u, _, vh = torch.linalg.svd(a @ b.T, full_matrices=False)
    return float((b - vh.T @ (u.T @ a)).square().sum())


def _eigenvalues(first: Gaussian, second: Gaussian) -> Array | None:
    """Return the eigenvalues of S1 S2 that may differ from zero; None where S1 is singular at n1 > d."""
    dimension = first.origin.shape[0]
    if len(first) <= dimension:
        a = first.factor()
        product = np.zeros((len(first), len(first)))
        for part in second.scaled():
            cross = a @ part.T
            product += cross @ cross.T
        values = scipy.linalg.eigvalsh(product, driver="evr", check_finite=False, overwrite_a=True)
    else:
        s1, s2 = first.covariance(), second.covariance()
        # A feature that is constant in one set has no part in the product, and would make S1 singular.
        alive = (s1.diagonal() > 0) & (s2.diagonal() > 0)
        if not alive.all():
            s1, s2 = (s[np.ix_(alive, alive)] for s in (s1, s2))
        try:
            values = scipy.linalg.eigvalsh(s2, s1, type=2, driver="gv", check_finite=False)
        except np.linalg.LinAlgError:
            return None
    return np.asarray(values[-min(len(first) - 1, len(second) - 1, len(values)) :])


def gaussian_distance(first: Gaussian, second: Gaussian) -> float:
    """Return the Frechet distance between two fitted sets, the first not larger than the second."""
    dimension = first.origin.shape[0]
    shift = float(np.square(first.offset(second)).sum())
    if dimension <= _SMALL or (len(first) <= _SMALL and len(first) + len(second) < dimension):
        return shift + _residual(first, second)
    values = _eigenvalues(first, second)
    if values is not None and len(values):
        noise = _ROUNDING * float(values[-1])
        roots = np.sqrt(np.maximum(values, noise))
        total = shift + first.trace + second.trace
        distance = total - 2.0 * float(roots.sum())
        error = _ROUNDING * total + noise * float((1.0 / roots).sum() if noise else 0.0)
        if error <= _TOLERANCE * distance:
            return distance
    return shift + _residual(first, second)


def frechet_distance(x: Any, y: Any) -> float:
    """Return the Frechet distance between the feature sets x (n1, d) and y (n2, d), at least 0.

    Arrays or tensors of any real dtype, or rows in a file that slice like them; the arithmetic is float64.
    `UserError` for n < 2, unequal dimensions or values that are not finite. Memory: blocks of rows, and
    matrices of min(n, d) rows for each set.
    """
    return gaussian_distance(*fitted(x, y))


def frechet_distance_per_class(x: Any, x_labels: Any, y: Any, y_labels: Any, num_classes: int) -> list[float]:
    """Return the Frechet distance of each class 0 .. num_classes - 1; their mean is mFID (FUNIT, DeepI2I).

    `x_labels` (n1,) and `y_labels` (n2,) hold class indices. `UserError` if a class has fewer than two
    samples.
    """
    x_rows, y_rows = feature_rows(x, y)
    pairs = zip(by_class(x_labels, num_classes), by_class(y_labels, num_classes), strict=True)
    with single_thread():
        return [_class_distance(take(x_rows, own), take(y_rows, other)) for own, other in pairs]


def _class_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the Frechet distance of two sets; for small ones, from singular values without vectors if they do."""
    feature_rows(x, y)
    if len(x) + len(y) > LARGE_CLASS:
        return frechet_distance(x, y)
    a, b = np.array(x, dtype=np.float64), np.array(y, dtype=np.float64)
    means = a.mean(0), b.mean(0)
    with np.errstate(invalid="ignore"):  # reported below
        a -= means[0]
        b -= means[1]
    traces = float(np.vdot(a, a)) / (len(a) - 1), float(np.vdot(b, b)) / (len(b) - 1)
    if not np.isfinite(sum(traces)):
        raise UserError("a feature set holds a value that is not finite")
    cross = (a @ b.T) / ((len(a) - 1) * (len(b) - 1)) ** 0.5
    distance = float(np.square(means[0] - means[1]).sum() - 2.0 * np.linalg.svd(cross, compute_uv=False).sum())
    distance += sum(traces)
    return distance if distance > CANCELLED * sum(traces) else frechet_distance(x, y)
