"""The linear probe: multinomial logistic regression with an L2 penalty on frozen features.

Few-shot classes and n << d make it exact and cheap: the solution lies in the span of the training features,
so the problem is solved in at most n dimensions, in float64, by full-batch L-BFGS from zero. Nothing is
random.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from kdx2i.metrics.threads import single_thread


@dataclass(frozen=True)
class LinearProbe:
    """Logits of features f (N, d): normalise(f - centre) @ weight + bias, all float64 on the CPU.

    `centre` is (d,), `weight` (d, classes), `bias` (classes,).
    """

    centre: Tensor
    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits (N, classes) of features (N, d)."""
        return _directions(features, self.centre) @ self.weight + self.bias


def _directions(features: Tensor, centre: Tensor) -> Tensor:
    """Return the unit vectors (N, d) from `centre` to the features, in float64."""
    return functional.normalize(features.to("cpu", torch.float64) - centre, dim=1, eps=1e-30)


class _Solver(torch.optim.LBFGS):
    """PyTorch's L-BFGS, whose own `add_param_group` imports PyTorch's compiler: a second or two of every evaluation."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.param_groups.append({**self.defaults, **param_group})


def _minimise(design: Tensor, target: Tensor, classes: int, l2: float, iterations: int) -> Tensor:
    """Return the (k + 1, classes) coefficients that minimise mean cross-entropy + l2/2 |W|^2.

    `design` is (n, k + 1) with a last column of ones, whose coefficients (the biases) are not penalised.
    """
    truth = functional.one_hot(target, classes).double()
    coefficients = torch.zeros(design.shape[1], classes, dtype=torch.float64)
    solver = _Solver(
        [coefficients],
        max_iter=iterations,
        history_size=20,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        logits = design @ coefficients
        penalised = coefficients[:-1]
        gradient = design.T @ (logits.softmax(1) - truth) / design.shape[0]
        gradient[:-1] += l2 * penalised
        coefficients.grad = gradient
        return functional.cross_entropy(logits, target) + 0.5 * l2 * penalised.square().sum()

    solver.step(objective)  # type: ignore[no-untyped-call]
    return coefficients


def train_probe(features: Tensor, labels: Tensor, classes: int, l2: float, iterations: int) -> LinearProbe:
    """Return the probe fitted to features (n, d) with labels (n,) in 0 .. classes - 1, on one thread.

    Features are centred at their mean and scaled to unit length, so `l2` means the same for every extractor.
    """
    with single_thread(), torch.no_grad():
        centre = features.to("cpu", torch.float64).mean(0)
        points = _directions(features, centre)
        _, scales, basis = torch.linalg.svd(points, full_matrices=False)
        basis = basis[scales > 1e-10 * scales.max().clamp_min(1e-30)]
        design = torch.cat([points @ basis.T, torch.ones(points.shape[0], 1, dtype=torch.float64)], dim=1)
        coefficients = _minimise(design, labels.to("cpu", torch.int64), classes, l2, iterations)
        return LinearProbe(centre, basis.T @ coefficients[:-1], coefficients[-1].clone())
