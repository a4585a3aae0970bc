"""R-precision: how often the condition that an image was made from fits it best among others, by an encoder of both.

R is 1 and the pool holds the right condition and up to 99 of other images (AttnGAN, section 4.1; Xu et al. 2018): the
cosine of the image's code and the condition's embedding decides. Pools of two, own against other, tell a weak
agreement from none with far fewer images.
"""

import math

import torch
from torch import Tensor

from kdx2i.metrics.classifiers.classifier import wilson_interval
from kdx2i.metrics.distances.estimates import normal_estimate
from kdx2i.metrics.embedded_set import Answers
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.retrieval import first_shares, matched, win_rate, wins
from kdx2i.metrics.trial import Matcher, Trial

POOL = 100
_IMAGES = 512
"""Images embedded at a time."""
_TRIPLES = 2**26
"""Comparisons of two candidates for an image at a time."""


def r_precision(trial: Trial) -> Entry:
    """Return the entry R-precision, in %, among min(100, N) conditions of N real images, with its 95 % interval.

    `chance` is what an image of another condition scores on average, `chance_95` what 95 % of random pairings do not
    exceed. The interval is Wilson's over the real images that conditions belong to. `pairs`: how often an image fits
    its own condition better than that of another real image, in %, a tie as a half, with its 95 % interval, 50 by
    chance. `training` has the same of conditions of training images, where the generator was asked with these too: an
    encoder knows them, so that who listens at all is heard. Null for less than two real images.
    """
    generated, matcher = trial.generated, trial.real.matcher
    given = generated.conditions
    assert given is not None and matcher is not None  # the catalogue's entry needs them
    if len(set(given.sources.tolist())) < 2:
        return trial.missing("R-precision needs the conditions of two images", n_real=0)
    asked = matcher()
    entry = _fidelity(Answers(generated.pixels(), given), asked)
    training = None if generated.training_answers is None else generated.training_answers()
    if training is not None and len(set(training.conditions.sources.tolist())) > 1:
        entry["training"] = _fidelity(training, asked)
    return entry


def _fidelity(answers: Answers, matcher: Matcher) -> Entry:
    """Return the values of images from the conditions of two real images or more."""
    count = len(set(answers.conditions.sources.tolist()))
    pool = min(POOL, count)
    shares, won = condition_shares(answers, matcher, pool)
    right = shares.diagonal()
    rate, error = win_rate(won)
    pairs = normal_estimate(100.0 * rate, None if error is None else 100.0 * error)
    return {
        "value": 100.0 * float(right.mean()),
        "standard_error": 100.0 * float(right.std()) / math.sqrt(count),
        "interval": list(wilson_interval(float(right.sum()), count)),
        "n_generated": len(answers.pixels),
        "candidates": pool,
        "chance": 100.0 / pool,
        "chance_95": matched(shares)["chance_95"],
        "pairs": {
            "value": pairs.value,
            "standard_error": pairs.standard_error,
            "interval": None if pairs.low is None else [pairs.low, pairs.high],
        },
    }


def condition_shares(answers: Answers, matcher: Matcher, pool: int) -> tuple[Tensor, Tensor]:
    """Return how often each condition is first in pools of `pool` of them, and `wins`, float64 [M, M] of M real images.

    Of several conditions of a real image the first of all real images make one round, the second ones another, so that
    a pool never holds two of one image; the values are means over rounds. `ValueError` where numbers differ.
    """
    given = answers.conditions
    order = torch.argsort(given.sources, stable=True)
    sources, counts = torch.unique(given.sources, return_counts=True)
    if len(set(counts.tolist())) != 1:
        raise ValueError("the real images have different numbers of conditions")
    rounds = order.view(len(sources), -1).T
    shares, won = torch.zeros(2, len(sources), len(sources), dtype=torch.float64)
    rows = max(1, _TRIPLES // len(sources) ** 2)
    for index in rounds:
        condition = given.of(index)
        seen = (answers.pixels[part].float().div(127.5).sub(1.0) for part in torch.split(index, _IMAGES))
        scores = torch.cat([matcher.agreement(part, condition) for part in seen])
        shares += torch.cat([first_shares(part, pool) for part in torch.split(scores, rows)])
        won += wins(scores)
    return shares / len(rounds), won / len(rounds)
