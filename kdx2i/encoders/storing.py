"""How the weights of encoders are stored."""

from collections.abc import Mapping

import torch
from torch import Tensor

from kdx2i.errors import UserError


def stored(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return a state with its weights in `dtype`; biases and statistics, of one dimension, stay as they are.

    `UserError` for weights that are no numbers in `dtype`.
    """
    kept = {name: value.to(dtype) if _is_weight(value) else value for name, value in state.items()}
    if not all(bool(torch.isfinite(value).all()) for value in kept.values()):
        raise UserError(f"the encoder has weights that are no numbers in {str(dtype).removeprefix('torch.')}")
    return kept


def _is_weight(value: Tensor) -> bool:
    return value.ndim > 1 and value.is_floating_point()
