"""Checks and groupings that the distances share."""

from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError


def feature_pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Return two feature sets as float64 CPU tensors (n1, d) and (n2, d).

    Raises `UserError` for other shapes, different dimensions, fewer than two samples (no unbiased covariance
    or kernel mean exists) or features that are not finite.
    """
    pair = tuple(torch.as_tensor(value).detach().to("cpu", torch.float64) for value in (x, y))
    for name, value in zip(("first", "second"), pair, strict=True):
        if value.ndim != 2 or value.shape[1] == 0:
            raise UserError(f"the {name} feature set has shape {tuple(value.shape)}, expected (samples, features)")
        if value.shape[0] < 2:
            raise UserError(f"the {name} feature set has {value.shape[0]} sample(s), at least 2 are needed")
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"the {name} feature set holds a value that is not finite")
    if pair[0].shape[1] != pair[1].shape[1]:
        raise UserError(f"the feature sets have {pair[0].shape[1]} and {pair[1].shape[1]} dimensions, expected equal")
    return pair[0], pair[1]


def split_by_class(features: Any, labels: Any, num_classes: int) -> list[Tensor]:
    """Return the rows of `features` (n, d) of each class 0 .. num_classes - 1, given int64 `labels` (n,)."""
    rows, index = torch.as_tensor(features), torch.as_tensor(labels)
    return [rows[index == label] for label in range(num_classes)]
