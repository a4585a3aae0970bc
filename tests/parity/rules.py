"""The exceptions from the plain fill that a fixture names (`fill.rules`): patterns of keys, rules in words."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

import numpy as np

from .fill import fill_tensor


def rule_of(name: str, rules: Mapping[str, str]) -> str | None:
    """Return the first rule whose pattern fits a key."""
    return next((rule for pattern, rule in rules.items() if fnmatchcase(name, pattern)), None)


def fill_by(rule: str, name: str, shape: tuple[int, ...], state: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fill one tensor by its rule; `state` holds the tensors before it. A rule without a reader is an error."""
    if rule.startswith("constant "):
        return np.full(shape, float(rule.removeprefix("constant ")), np.float32)
    if rule == "left as constructed":
        if shape[1:] != (1, 3, 3):
            raise NotImplementedError(f"the constructed value of {name} is not known")
        # The depthwise blur of StyleGAN-1: binomial and normalised.
        return np.tile(np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16, (shape[0], 1, 1, 1))
    plain = np.asarray(fill_tensor(name, shape))
    if rule.startswith("fill_tensor(name, shape) * sqrt(prod(shape[1:]))"):
        return plain * np.float32(np.sqrt(np.prod(shape[1:]))) if len(shape) > 1 else plain
    if rule.startswith("1 + abs"):
        return 1 + np.abs(plain)
    if rule.startswith("u = "):
        wide = plain.astype(np.float64)
        return (wide / np.linalg.norm(wide)).astype(np.float32)
    if rule.startswith("v = W^T u"):
        stem = name.removesuffix("weight_v")
        weight, u = (state[stem + key].astype(np.float64) for key in ("weight_orig", "weight_u"))
        # The key of a transposed convolution is the only sign of one whose widths are equal.
        if "ConvTranspose2d" in rule and (weight.shape[0] != len(u) or stem.endswith("trConv.")):
            weight = np.moveaxis(weight, 1, 0)
        v = weight.reshape(len(u), -1).T @ u
        return (v / np.linalg.norm(v)).astype(np.float32)
    raise NotImplementedError(f"no reader for the fill rule of {name}: {rule}")
