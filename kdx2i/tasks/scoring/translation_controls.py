"""Control rows: what the metrics say of real images, of the input handed back, of images of no worth, and of noise.

They bound every table from both sides, through the same scorer as the runs: the class-wise distances of real
against real are the floor that sample counts alone impose, and its accuracies the ceiling of RC and FC.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdx2i.data.images import pixel_store
from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.distances.classwise import mean_distances
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.runs import embed_generated, image_shape
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.trial import distances_by_class
from kdx2i.tasks.scoring.translation_requests import draw_directed, draw_requests

CONTROLS = ("real_vs_real", "input_copied", "class_mean", "blank", "noise")
_CEILING = "RC"  # of all accuracies


def halves(labels: Tensor, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two disjoint index sets (n,) with the same number of images of each class, drawn at random.

    `labels` is int64 (N,); of an odd class one image is left out.
    """
    first, second = [], []
    for label in range(classes):
        index = torch.nonzero(labels == label).flatten()
        index = index[torch.randperm(len(index), generator=generator)]
        half = len(index) // 2
        first.append(index[:half])
        second.append(index[half : 2 * half])
    return torch.cat(first), torch.cat(second)


def _asking_for(metrics: Sequence[str], need: Need) -> list[str]:
    """Return the metrics that need something."""
    return [name for name in metrics if need in METRICS[name].needs]


def _real_against_real(scorer: Scorer, metrics: Sequence[str], generator: torch.Generator) -> dict[str, Entry]:
    """Return the values of real images in the place of generated ones.

    Class-wise distances: the mean over random halvings of the real set. Accuracies: the real classifier on real test
    images. LPIPS: between the real images of a class. All others: training against test images, or two halves where
    the pooled real set is not one role.
    """
    by_class, of_outputs = (_asking_for(metrics, need) for need in (Need.TWO_IMAGES_A_CLASS, Need.OUTPUTS))
    accuracies = _asking_for(metrics, Need.CLASSIFIER)
    entries = _halved(scorer, by_class, generator) if by_class else {}
    generated, real = _pooled_pair(scorer, generator)
    apart = (*by_class, *of_outputs, *accuracies)
    entries |= scorer.against(real).score(generated, [name for name in metrics if name not in apart])
    if accuracies:
        test = scorer.part("test")
        counts = {"n_real": len(scorer.part("train")) + len(test), "n_generated": 0}
        ceiling = {**scorer.score(test, [_CEILING])[_CEILING], **counts}
        entries |= {name: dict(ceiling) for name in accuracies}
    if of_outputs:
        everything = scorer.part("all")
        entries |= scorer.score(replace(everything, outputs=_of_classes(scorer, everything)), of_outputs)
    return {name: entries[name] for name in metrics}


@dataclass(frozen=True)
class _OfClasses:
    """The images of each class, as if they were outputs of one source, gathered when they are read."""

    images: EmbeddedSet
    classes: int

    def __iter__(self) -> Iterator[Tensor]:
        for label in range(self.classes):
            yield self.images.where(self.images.labels == label).pixels()


def _of_classes(scorer: Scorer, images: EmbeddedSet) -> Iterable[Tensor]:
    """Return the images of each class, as if they were outputs of one source."""
    return _OfClasses(images, len(scorer.classes))


def _roles(scorer: Scorer) -> Tensor:
    """Return which real images are test images: controls draw on both roles."""
    assert scorer.is_test is not None
    return scorer.is_test


def _halved(scorer: Scorer, metrics: Sequence[str], generator: torch.Generator) -> dict[str, Entry]:
    """Return the class-wise distances between halves of the real set: means over random halvings, without errors."""
    repeats, classes = scorer.settings.control_repeats, len(scorer.classes)
    chosen = scorer.part(scorer.settings.real_set)
    halvings = []
    for _ in range(repeats):
        first, second = (chosen.where(index) for index in halves(chosen.labels, classes, generator))
        halvings.append(distances_by_class(first, second, classes, errors=False))
    against = scorer.against(second)
    trial = against.trial(first, mean_distances(halvings))
    return {name: {**against.entry(trial, name), "repeats": repeats} for name in metrics}


def _pooled_pair(scorer: Scorer, generator: torch.Generator) -> tuple[EmbeddedSet, EmbeddedSet]:
    """Return real images to stand for generated ones and the pooled real set, or two halves where that is no role."""
    settings = scorer.settings
    if settings.pooled_real_set == "all":
        everything = scorer.part("all")
        first, second = halves(everything.labels, len(scorer.classes), generator)
        return everything.where(first), everything.where(second)
    train, test = scorer.part("train"), scorer.part("test")
    return (train, test) if settings.pooled_real_set == "test" else (test, train)


def _copied(scorer: Scorer) -> EmbeddedSet:
    """Return the source images of the runs' own requests, labelled as outputs of their target class."""
    settings = scorer.settings
    requests = draw_requests(
        scorer.real.labels, _roles(scorer), len(scorer.classes), settings.images_per_class, settings.seed
    )
    return replace(scorer.real.where(requests.sources), labels=requests.targets)


def _noise(scorer: Scorer, generator: torch.Generator) -> EmbeddedSet:
    """Return `images_per_class` images of uniform random grey levels for each class."""
    labels = torch.arange(len(scorer.classes)).repeat_interleave(scorer.settings.images_per_class)
    images = pixel_store((len(labels), *image_shape(scorer))).random_(0, 256, generator=generator)
    return embed_generated(scorer, images, labels)


def class_mean_images(scorer: Scorer) -> Tensor:
    """Return the mean of the real training images of each class, uint8 (classes, 3, H, W), rounded."""
    train = scorer.part("train")
    of_class = (train.where(train.labels == label).pixels().float() for label in range(len(scorer.classes)))
    means = [pixels.mean(0) for pixels in of_class]
    return torch.stack(means).round().to(torch.uint8)


def blank_image(scorer: Scorer) -> Tensor:
    """Return an image of one colour, the mean of all real training images, uint8 (3, H, W), rounded."""
    total, count = torch.zeros(3, dtype=torch.float64), 0  # Sums of whole numbers, which float64 holds exactly.
    for _, block in scorer.part("train").images.blocks(256):
        for image in block:
            total += image.sum((1, 2))
            count += image[0].numel()
    return (total / count).round().to(torch.uint8)[:, None, None].expand(image_shape(scorer))


def _constant(scorer: Scorer, pictures: Tensor) -> EmbeddedSet:
    """Return `images_per_class` times the one image of each class, of uint8 (classes, 3, H, W)."""
    labels = torch.arange(len(scorer.classes)).repeat_interleave(scorer.settings.images_per_class)
    into = pixel_store((len(labels), *pictures.shape[1:]))
    images = embed_generated(scorer, torch.index_select(pictures, 0, labels, out=into), labels)
    return replace(images, outputs=_of_classes(scorer, images))


def directed_controls(scorer: Scorer, metrics: Sequence[str], source: int, target: int) -> dict[str, dict[str, Entry]]:
    """Return the values of the controls for translations of one class to another.

    Real against real takes as many real images in place of translations as the evaluation asks for, where the class
    has so many; its entries give the number.
    """
    settings = scorer.settings
    streams = [torch.Generator().manual_seed(1_000_003 * settings.seed + number) for number in (0, 2)]
    pair = [part.where(part.labels == target) for part in _pooled_pair(scorer, streams[0])]
    chosen = torch.randperm(len(pair[0]), generator=streams[0])[: settings.images_per_direction]
    requests = draw_directed(
        scorer.real.labels, _roles(scorer), source, target, settings.images_per_direction, settings.seed
    )
    shape = (settings.images_per_direction, *image_shape(scorer))
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=streams[1])
    directed = scorer.directed(target)
    halved = scorer.against(pair[1], directed.classes)
    return {
        "real_vs_real": halved.score(pair[0].where(chosen.sort().values), metrics),
        "input_copied": directed.score(scorer.real.where(requests.sources), metrics),
        **{
            name: directed.score(embed_generated(scorer, picture.expand(shape), requests.targets), metrics)
            for name, picture in (("class_mean", class_mean_images(scorer)[target]), ("blank", blank_image(scorer)))
        },
        "noise": directed.score(embed_generated(scorer, noise, requests.targets), metrics),
    }


def control_values(
    scorer: Scorer, metrics: Sequence[str], copied: tuple[Tensor, Tensor] | None = None
) -> dict[str, dict[str, Entry]]:
    """Return {"real_vs_real", "input_copied", "class_mean", "blank", "noise"}: the entries of metrics.

    They are scored against a scorer's real images.

    `copied` holds inputs, uint8 (N, 3, H, W), and the target class (N,) of each; by default they are those
    that `draw_requests` asks of every run. Deterministic given `settings.seed`. Errors as in `embed_generated`.
    """
    # One stream of random numbers each, so that no control changes when another one does.
    streams = [torch.Generator().manual_seed(1_000_003 * scorer.settings.seed + number) for number in (0, 2)]
    inputs = _copied(scorer) if copied is None else embed_generated(scorer, *copied)
    noise = _noise(scorer, streams[1])
    noise = replace(noise, outputs=_of_classes(scorer, noise))
    diversity = scorer.settings.diversity
    if diversity is not None:
        sources = inputs.where(torch.arange(min(diversity.sources, len(inputs)))).pixels()
        inputs = replace(inputs, outputs=[image.expand(diversity.outputs, -1, -1, -1) for image in sources])
    return {
        "real_vs_real": _real_against_real(scorer, metrics, streams[0]),
        "input_copied": scorer.score(inputs, metrics),
        "class_mean": scorer.score(_constant(scorer, class_mean_images(scorer)), metrics),
        "blank": scorer.score(_constant(scorer, blank_image(scorer).expand(len(scorer.classes), -1, -1, -1)), metrics),
        "noise": scorer.score(noise, metrics),
    }
