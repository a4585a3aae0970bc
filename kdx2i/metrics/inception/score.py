"""Inception Score of logits, in float64 and one pass over blocks of rows, under the published conventions.

exp(mean over images of KL(p(y|x) || p(y))) in each of several parts of the images, then mean and deviation over
the parts (Salimans et al. 2016). In each part it is exp(H(mean p) - mean H(p)), so sums over its images suffice.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.threads import single_thread

Remainder = Literal["keep", "drop"]
_BLOCK = 1024
_Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


class Logits(Protocol):
    """Logits (N, K): a tensor, or rows on disk whose slices are tensors."""

    @property
    def shape(self) -> Any:
        """Return (N, K)."""

    def __getitem__(self, rows: slice, /) -> Tensor:
        """Return some rows."""


@dataclass(frozen=True)
class Convention:
    """How one code base computes the Inception Score.

    `classifier` is the network that its numbers are from and `layer` what the softmax is taken of (with or
    without the last bias); `first_class` leaves out the classes before it (a background class). `shuffle_seed`
    seeds the order in which images are dealt to the parts, None keeps the given order. `remainder` keeps the
    images that do not divide evenly, or drops them; `ddof` is that of the deviation over parts. A `fine_tuned`
    classifier gives numbers on a scale of its own.
    """

    classifier: str
    splits: int
    source: str
    layer: Literal["logits_unbiased", "logits"] = "logits_unbiased"
    shuffle_seed: int | None = None
    remainder: Remainder = "keep"
    ddof: int = 0
    first_class: int = 0
    fine_tuned: bool = False


_TF = "inception-v3-compat"
_STACKGAN = "hanzhanggit/StackGAN-inception-model, inception_score.py (its shuffle is not seeded)"
_FINE_TUNED: Any = {"layer": "logits", "shuffle_seed": 2020, "first_class": 1, "fine_tuned": True}
CONVENTIONS: dict[str, Convention] = {
    "torch-fidelity": Convention(_TF, 10, "torch-fidelity 0.4.0, metric_isc.py", shuffle_seed=2020),
    "openai": Convention(_TF, 10, "openai/improved-gan, inception_score/model.py"),
    "stylegan2-ada": Convention(_TF, 10, "NVlabs/stylegan2-ada-pytorch, metrics/inception_score.py"),
    "ssa-gan": Convention(_TF, 3, "wtliao/text2image, IS.py"),
    "s2igan": Convention(
        "inception-v3-torchvision",
        10,
        "xinshengwang/S2IGAN, inception_score.py",
        layer="logits",
        remainder="drop",
    ),
    # Its sampler draws the classes of images at random; here images come sorted by class, so they are shuffled.
    "deepi2i": Convention(
        "inception-v3-torchvision",
        10,
        "yaxingwang/DeepI2I, DeepI2I_BigGAN/inception_utils.py (its draw of classes is not seeded)",
        layer="logits",
        shuffle_seed=2020,
        remainder="drop",
    ),
    # What the readmes of S2IGAN and AttnGAN name for CUB and Oxford-102.
    "stackgan-cub": Convention("stackgan-cub", 10, _STACKGAN, **_FINE_TUNED),
    "stackgan-flowers": Convention("stackgan-flowers", 10, _STACKGAN, **_FINE_TUNED),
}


def convention(name: str, classifier: str) -> Convention:
    """Return a named convention for logits of `classifier`.

    The splits of a convention may be used with any ImageNet classifier (the value is then another score, and
    must be printed with the classifier's name); those of a fine-tuned one need its own logits. `UserError` for
    an unknown name and for a fine-tuned classifier that the logits are not from.
    """
    if name not in CONVENTIONS:
        raise UserError(f"there is no Inception Score convention {name!r}, choose one of {', '.join(CONVENTIONS)}")
    rule = CONVENTIONS[name]
    if rule.fine_tuned and classifier != rule.classifier:
        raise UserError(
            f"the Inception Score convention {name} is defined on StackGAN's Inception network fine-tuned on its data "
            f"set, not on {classifier}: its weights are a TensorFlow checkpoint that this package cannot read (see "
            "https://github.com/hanzhanggit/StackGAN-inception-model); run or convert that network yourself and "
            f"register it with torch-fidelity under the name {rule.classifier}",
            whole=True,
        )
    return rule


@dataclass(frozen=True)
class ScoreEstimate:
    """`mean` and deviation `std` over `splits` parts of `n` used images.

    `std` is None where the parts are too few for it. `standard_error` is that of `mean` for independent images
    (infinitesimal jackknife within each part). No set of images can score above `bound`: a part of m images
    has at most min(m, classes).
    """

    mean: float
    std: float | None
    standard_error: float
    splits: int
    n: int
    bound: float

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % normal interval of the mean, within [1, bound]."""
        reach = _Z95 * self.standard_error
        return max(1.0, self.mean - reach), min(self.bound, self.mean + reach)


def parts(count: int, splits: int, shuffle_seed: int | None, remainder: Remainder) -> Tensor:
    """Return the part int64 (count,) of each image, -1 for one that is dropped.

    The borders are i * count // splits (`keep`, as torch-fidelity, StyleGAN2-ADA and OpenAI have them), or parts
    of count // splits images (`drop`, as S2IGAN).
    """
    if not 1 <= splits <= count:
        raise UserError(f"{count} images cannot make {splits} parts of the Inception Score: use 1 to {count} splits")
    if remainder == "keep":
        sizes = [(part + 1) * count // splits - part * count // splits for part in range(splits)]
    else:
        sizes = [count // splits] * splits
    dealt = torch.full((count,), -1)
    dealt[: sum(sizes)] = torch.repeat_interleave(torch.arange(splits), torch.tensor(sizes))
    if shuffle_seed is None:
        return dealt
    shuffled = torch.empty_like(dealt)
    shuffled[torch.from_numpy(np.random.RandomState(shuffle_seed).permutation(count))] = dealt
    return shuffled


def inception_score(
    logits: Logits,
    *,
    splits: int = 10,
    shuffle_seed: int | None = None,
    ddof: int = 0,
    remainder: Remainder = "keep",
    first_class: int = 0,
) -> ScoreEstimate:
    """Return the Inception Score of logits (N, K), read in blocks; see `Convention` for the settings.

    `UserError` for more splits than images, fewer than two classes, or logits that are not finite.
    """
    count, classes = int(logits.shape[0]), int(logits.shape[1]) - first_class
    if classes < 2:
        raise UserError(f"the Inception Score needs the logits of two or more classes, got {classes}")
    part = parts(count, splits, shuffle_seed, remainder)
    sizes = torch.bincount(part[part >= 0], minlength=splits).double()
    totals = torch.zeros(splits, classes, dtype=torch.float64)
    negentropies = torch.zeros(count, dtype=torch.float64)
    with single_thread():
        for start in range(0, count, _BLOCK):
            p, log_p = _probabilities(logits, start, first_class)
            negentropies[start : start + _BLOCK] = (p * log_p).sum(1)
            of_block = part[start : start + _BLOCK]
            totals.index_add_(0, of_block[of_block >= 0], p[of_block >= 0])
        marginals = totals / sizes[:, None]
        # A class whose probability is zero (below 1e-308) in a whole part adds nothing there.
        log_marginals = marginals.clamp_min(torch.finfo(torch.float64).tiny).log()
        divergences = torch.zeros(count, dtype=torch.float64)
        for start in range(0, count, _BLOCK):
            p, _ = _probabilities(logits, start, first_class)
            rows = slice(start, start + _BLOCK)
            divergences[rows] = negentropies[rows] - (p * log_marginals[part[rows].clamp_min(0)]).sum(1)
    scores, variances = [], []
    for number in range(splits):
        of_block = divergences[part == number]
        scores.append(math.exp(float(of_block.mean())))
        variances.append(scores[-1] ** 2 * float(of_block.var(correction=0)) / len(of_block))
    deviation = float(np.std(scores, ddof=ddof)) if splits > max(ddof, 1) else None
    bound = math.fsum(min(size, classes) for size in sizes.tolist()) / splits
    error = math.sqrt(math.fsum(variances)) / splits
    return ScoreEstimate(math.fsum(scores) / splits, deviation, error, splits, int(sizes.sum()), bound)


def _probabilities(logits: Logits, start: int, first_class: int) -> tuple[Tensor, Tensor]:
    """Return the probabilities of one block of rows and their logarithms, float64 on the CPU."""
    block = logits[start : start + _BLOCK][:, first_class:].to("cpu", torch.float64)
    if not bool(block.isfinite().all()):
        raise UserError("the logits of the Inception Score hold values that are not finite")
    log_p = block.log_softmax(1)
    return log_p.exp(), log_p


def score_entry(logits: Logits, name: str, classifier: str, splits: int | None = None) -> dict[str, Any]:
    """Return the entry IS of a result under the convention `name`, or None with a reason for too few images.

    `classifier` is the network that made the logits; `splits` replaces the convention's own.
    """
    rule = convention(name, classifier)
    parts, count = splits or rule.splits, int(logits.shape[0])
    common = {"n_generated": count, "splits": parts, "convention": name, "classifier": classifier}
    if count < parts:
        reason = f"{count} images cannot make {parts} parts of the Inception Score"
        return {"value": None, "reason": reason, **common}
    estimate = inception_score(
        logits,
        splits=parts,
        shuffle_seed=rule.shuffle_seed,
        ddof=rule.ddof,
        remainder=rule.remainder,
        first_class=rule.first_class,
    )
    return {
        "value": estimate.mean,
        "standard_deviation": estimate.std,
        "standard_error": estimate.standard_error,
        "interval": list(estimate.interval),
        "bound": estimate.bound,
        **common,
    }
