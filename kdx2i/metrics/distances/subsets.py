"""The random subsets that the libraries average kernel distances over, drawn as they draw them.

Given these indices, `kernel_distance_subsets` equals the libraries to rounding on float64 features. On float32
features they round each kernel matrix to float32, which moves one subset of 1,000 by about 5e-8.
"""

import numpy as np
from numpy.typing import NDArray

from kdx2i.errors import UserError

Indices = NDArray[np.int64]


def torch_fidelity_subsets(
    first: int, second: int, *, subsets: int = 100, size: int = 1000, seed: int = 2020
) -> tuple[Indices, Indices]:
    """Return the subsets (subsets, size) of sets of `first` and `second` images that torch-fidelity 0.4.0 draws.

    Source: `torch_fidelity/metric_kid.py`, `kid_features_to_metric`: RandomState(rng_seed), the first set
    before the second. `UserError` when a set is smaller than a subset, where the library fails too.
    """
    if size > min(first, second):
        raise UserError(
            f"subsets of {size} images need as many in each set, there are {first} and {second}: "
            "choose a smaller subset size or the full-set estimate"
        )
    drawn = _drawn(np.random.RandomState(seed), (first, second), subsets, size)
    return drawn[0], drawn[1]


def clean_fid_subsets(
    first: int, second: int, *, seed: int, subsets: int = 100, largest: int = 1000
) -> tuple[Indices, Indices]:
    """Return the subsets (subsets, min(first, second, largest)) that clean-fid 0.1.35 draws after np.random.seed(seed).

    Source: `cleanfid/fid.py`, `kernel_distance(feats1, feats2)`: NumPy's global generator, which the library
    does not seed; the second set before the first.
    """
    size = min(first, second, largest)
    drawn = _drawn(np.random.RandomState(seed), (second, first), subsets, size)
    return drawn[1], drawn[0]


def _drawn(state: np.random.RandomState, counts: tuple[int, int], subsets: int, size: int) -> list[Indices]:
    """Return two index arrays (subsets, size) drawn in turns without replacement."""
    pairs = [[state.choice(count, size, replace=False) for count in counts] for _ in range(subsets)]
    return [np.array([pair[side] for pair in pairs], dtype=np.int64).reshape(subsets, size) for side in (0, 1)]
