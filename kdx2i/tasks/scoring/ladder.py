"""The climb of the ladder: what every distance says of real images under growing damage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.distances.classwise import mean_distances
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.ladder.rungs import BY_CLASS_ONLY, Rung, broken_order, rungs
from kdx2i.metrics.runs import embed_generated
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.trial import distances_by_class
from kdx2i.tasks.scoring.translation_controls import halves

DISTANCES = ("mFID", "mKIDx100", "FID", "KIDx100")
ACCURACY = "RC"


@dataclass(frozen=True)
class Climb:
    """What one extractor says of the rungs on one dataset: {metric: {rung: value}}, and the rungs."""

    rungs: list[Rung]
    values: dict[str, dict[str, float]]

    def broken(self, metric: str) -> list[tuple[str, str]]:
        """Return the pairs of rungs that a distance has in the wrong order (`kdx2i.metrics.ladder.rungs`)."""
        return broken_order(self.values[metric], self.rungs)


def climb(
    scorer: Scorer, *, repeats: int = 5, seed: int = 0, accuracy: bool = True, done: Callable[[], None] | None = None
) -> Climb:
    """Return the distances of damaged real images to whole ones: halves of all real images, the same for every rung.

    They are means over random halvings, of which one half is damaged. RC is that of damaged test images, by the real
    classifier; it takes no part in the order: it does not ask how good an image is, only whether its class is seen.
    `done` is called after each rung.
    """
    generator = torch.Generator().manual_seed(seed)
    whole, classes = scorer.part("all"), len(scorer.classes)
    pairs = [halves(whole.labels, classes, generator) for _ in range(repeats)]
    climbed = rungs(whole.pixels().shape[-1], seed)
    values: dict[str, dict[str, float]] = {name: {} for name in (*DISTANCES, ACCURACY)}
    for rung in climbed:
        images = embed_generated(scorer, rung.change(whole.pixels(), whole.labels), whole.labels)
        for metric, value in _distances(scorer, whole, images, rung, pairs).items():
            values[metric][rung.name] = value
        if accuracy and scorer.is_test is not None:
            tested = _relabelled(images.where(scorer.is_test), rung.relabel, classes)
            values[ACCURACY][rung.name] = float(scorer.score(tested, [ACCURACY])[ACCURACY]["value"])
        if done is not None:
            done()
    return Climb(climbed, values)


def _distances(
    scorer: Scorer,
    whole: EmbeddedSet,
    damaged: EmbeddedSet,
    rung: Rung,
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> dict[str, float]:
    """Return the distances of one rung, means over the halvings `pairs` of indices (n,)."""
    classes = len(scorer.classes)
    halvings, pooled = [], []
    for first, second in pairs:
        generated, real = _relabelled(damaged.where(first), rung.relabel, classes), whole.where(second)
        halvings.append(distances_by_class(generated, real, classes, errors=False))
        if rung.name not in BY_CLASS_ONLY:
            against = scorer.against(real)
            scored = against.score(generated, [name for name in DISTANCES if not _by_class(name)])
            pooled.append({name: float(entry["value"]) for name, entry in scored.items()})
    against = scorer.against(whole)
    trial = against.trial(damaged, mean_distances(halvings))
    entries = {name: against.entry(trial, name) for name in DISTANCES if _by_class(name)}
    values = {name: float(entry["value"]) for name, entry in entries.items()}
    for name in pooled[0] if pooled else ():
        values[name] = sum(one[name] for one in pooled) / len(pooled)
    return values


def _by_class(metric: str) -> bool:
    return Need.TWO_IMAGES_A_CLASS in METRICS[metric].needs


def _relabelled(images: EmbeddedSet, shift: int, classes: int) -> EmbeddedSet:
    """Return images whose class is another one, `shift` further."""
    if not shift:
        return images
    return EmbeddedSet(images.images, (images.labels + shift) % classes, images.features, images.logits)
