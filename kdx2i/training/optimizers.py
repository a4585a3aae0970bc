"""Optimisers: their construction and one update."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from kdx2i.training import distributed


class Adam(torch.optim.Adam):
    """PyTorch's Adam over lists of tensors, bit by bit, without its import of the compiler.

    PyTorch's own construction, `zero_grad` and `step` import `torch._dynamo` at their first call: a second or two of
    every job. All parameters lie on one device; settings beyond those of `adam` are not read.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with their settings, the default ones where they have none."""
        self.param_groups.append({**self.defaults, **param_group, "params": list(param_group["params"])})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        for parameter in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            parameter.grad = None if set_to_none else torch.zeros_like(parameter.grad)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Update the parameters of a group; the operations and their order are those of PyTorch."""
        (beta1, beta2), decay = group["betas"], group["weight_decay"]
        gradients: Any = [p.grad for p in parameters]
        for p in parameters:
            if p not in self.state:
                self.state[p] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
                }
            self.state[p]["step"] += 1
        means = [self.state[p]["exp_avg"] for p in parameters]
        squares = [self.state[p]["exp_avg_sq"] for p in parameters]
        steps = [float(self.state[p]["step"]) for p in parameters]
        if decay:
            gradients = torch._foreach_add(gradients, parameters, alpha=decay)
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        divisors = torch._foreach_sqrt(squares)
        torch._foreach_div_(divisors, [(1 - beta2**step) ** 0.5 for step in steps])
        torch._foreach_add_(divisors, group["eps"])
        sizes = [(group["lr"] / (1 - beta1**step)) * -1 for step in steps]
        torch._foreach_addcdiv_(parameters, means, divisors, sizes)


def adam(
    parameters: Iterable[Any],
    learning_rate: float,
    betas: tuple[float, float],
    *,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Adam:
    """Return Adam over parameters or parameter groups, over lists of tensors.

    Not fused: PyTorch's fused kernel reads a gradient in the memory order of its weight, so where one is channels last
    and the other is not, weights get the gradients of others.
    """
    return Adam(parameters, lr=learning_rate, betas=betas, eps=eps, weight_decay=weight_decay)


def step_optimizers(loss: Tensor, *optimizers: Optimizer) -> None:
    """Back-propagate a loss into the parameters of these optimisers only, average over ranks, update."""
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    distributed.average_gradients(parameters)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
