"""Data parallelism under torchrun: every rank draws the joint batch, keeps its share, averages gradients.

Because the joint batch is drawn alike everywhere, N processes compute the gradients of one process with the
joined batch (batch statistics such as the minibatch standard deviation of StyleGAN2 excepted).
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from kdx2i.errors import UserError


def world_size() -> int:
    """Return the number of processes (1 outside torchrun)."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this process's index."""
    return dist.get_rank() if dist.is_initialized() else 0


def start() -> None:
    """Join the process group if torchrun started this process (NCCL with CUDA, else gloo)."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def finish() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def barrier() -> None:
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()


def agree(value: int) -> bool:
    """Return whether all processes have the same value; waits for all of them."""
    if world_size() == 1:
        return True
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    extremes = torch.tensor([value, -value], device=device)
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    return int(extremes[0]) == -int(extremes[1])


def any_of(value: bool) -> bool:
    """Return whether any process says so; waits for all of them."""
    if world_size() == 1:
        return value
    most = torch.tensor([int(value)], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return bool(most[0])


def shard(joint: Tensor) -> Tensor:
    """Return this rank's share [B / ranks, ...] of a joint batch [B, ...]; `UserError` where B is no multiple."""
    size = world_size()
    if joint.shape[0] % size:
        raise UserError(f"a batch of {joint.shape[0]} cannot be shared equally by {size} processes: choose a multiple")
    share = joint.shape[0] // size
    return joint[rank() * share : (rank() + 1) * share]


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average the gradients of all ranks, of any shape, in place in one flat reduction; nothing outside torchrun."""
    if world_size() == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= world_size()
    offset = 0
    for grad in grads:
        grad.copy_(flat[offset : offset + grad.numel()].reshape(grad.shape))
        offset += grad.numel()
