"""Optimisers: their construction and one update."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from kdx2i.training import distributed


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
    return Adam(parameters, lr=learning_rate, betas=betas, eps=eps, weight_decay=weight_decay, foreach=True)


def step_optimizers(loss: Tensor, *optimizers: Optimizer) -> None:
    """Back-propagate a scalar loss into the parameters of these optimisers only, average over ranks, update."""
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    distributed.average_gradients(parameters)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
