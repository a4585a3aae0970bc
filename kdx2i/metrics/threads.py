"""One thread for small linear algebra: more would cost time on a busy machine and change last digits."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import scipy.linalg  # noqa: F401  its BLAS must be loaded before the controller looks for libraries
import torch
from threadpoolctl import ThreadpoolController


@functools.cache
def _libraries() -> ThreadpoolController:
    """Return the handle on the BLAS libraries of NumPy and SciPy (the search takes milliseconds: once)."""
    return ThreadpoolController()


@contextmanager
def single_thread() -> Iterator[None]:
    """Run the block with one torch and BLAS thread, and put the caller's numbers back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
