"""Starts of networks whose weights are replaced at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _WithoutDecompositions(TorchFunctionMode):
    """Leaves normal draws as they are where `torch.nn.init.orthogonal_` would decompose them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.linalg.qr:
            return args[0], args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def weights_follow() -> Iterator[None]:
    """Build the networks of the block without orthogonal starts: for those whose weights are read from a file next.

    To orthogonalise the layers of a BigGAN or S2IGAN is most of what building them takes. Torch's generators end where
    they would with those starts, so that what is drawn afterwards is the same.
    """
    with _WithoutDecompositions():
        yield
