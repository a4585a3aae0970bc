"""Optimisers: their construction and one update."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adam import adam as adam_update

from kdx2i.training import distributed


class Adam(torch.optim.Adam):
    """PyTorch's Adam over lists of tensors, without its import of the compiler.

    The class's construction, `zero_grad` and `step` import `torch._dynamo` at their first call: a second or two of
    every job. The arithmetic is PyTorch's function. Settings beyond those of `adam` are not read.
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
        """Update the parameters of a group with PyTorch's arithmetic."""
        for p in parameters:
            if p not in self.state:
                self.state[p] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
                }
        states = [self.state[p] for p in parameters]
        adam_update(
            parameters,
            [p.grad for p in parameters if p.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


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
