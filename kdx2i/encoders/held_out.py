"""What an encoder knows of test images, which its training never sees: retrieval, and the words that are new to it."""

from collections.abc import Sequence
from typing import Any

import torch

from kdx2i.data.manifest import Role
from kdx2i.encoders.damsm.vocabulary import Vocabulary, tokenise
from kdx2i.encoders.matching import Matcher
from kdx2i.metrics.retrieval import first_shares, matched
from kdx2i.tasks.paired import PairedTask
from kdx2i.training.precision import to_images

CONDITIONS = 10
POOL = 100
CPU = torch.device("cpu")


def retrieval(matcher: Matcher[Any], task: PairedTask[Any]) -> dict[str, Any] | None:
    """Return how often a test image's own condition is the nearest one, in %; None with less than two test images.

    `all`: among one condition of each test image; `pool`: among min(100, N) of these. `class`: how often the nearest
    one among all belongs to an image of its class. Each is the mean over ten conditions of the images, by their place.
    """
    index = torch.nonzero(task.is_test).flatten()
    if len(index) < 2:
        return None
    images = to_images(task.images[index], CPU)
    pool, labels = min(POOL, len(index)), task.labels[index]
    every, pooled = [], []
    for number in range(CONDITIONS):
        draws = torch.full((len(index),), (number + 0.5) / CONDITIONS)
        scores = matcher.agreement(images, task.given(index, draws, None, CPU))
        every.append(first_shares(scores, len(index)))
        pooled.append(first_shares(scores, pool))
    shares = torch.stack(every).mean(0)
    alike = (labels[:, None] == labels[None, :]).double()
    classes = {"right": (shares * alike).sum(1).mean(), "chance": alike.mean()}
    return {
        "test_images": len(index),
        "conditions_an_image": CONDITIONS,
        "all": {"candidates": len(index), **matched(shares)},
        "pool": {"candidates": pool, **matched(torch.stack(pooled).mean(0))},
        "class": {name: round(100.0 * float(value), 3) for name, value in classes.items()},
    }


def unseen_words(training: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    """Return which words of the test captions no training caption has.

    `words` and `unseen`: different words; `unseen_share`: of the running words, in %; `examples`: the first fifty.
    """
    vocabulary = Vocabulary.of(training)
    running = [word for caption in test for word in tokenise(caption)]
    unseen = vocabulary.unseen(test)
    count = sum(word not in vocabulary.numbers for word in running)
    return {
        "words": len(set(running)),
        "unseen": len(unseen),
        "unseen_share": round(100.0 * count / max(1, len(running)), 2),
        "examples": unseen[:50],
    }


def captions_of(task: PairedTask[Any], role: Role) -> list[str]:
    """Return all captions of a role's images, in the order of the images."""
    return [caption for row in task.split.select(role) for caption in task.conditions.captions(row)]
