"""Networks without values: their shapes alone, however large."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _WithoutValues(TorchFunctionMode):
    """Leaves out what only gives weights their values: drawing them, by `torch.nn.init` or `randn`, and scaling them.

    On the meta device these import PyTorch's compiler, which takes a second or two.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.div or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build the modules of the block on the meta device: a configuration of absurd sizes costs no memory."""
    with torch.device("meta"), _WithoutValues():
        yield
