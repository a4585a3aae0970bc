"""The rungs of the ladder: what is done to real images, how much of it, and in which order distances must put them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from kdx2i.metrics.ladder.damage import add_noise, blur, pixelate, to_bytes

REAL = "real"
WRONG_CLASS, CLASS_MEAN, GREY, WHITE, PURE_NOISE = "wrong class", "class mean", "grey", "white", "pure noise"
NO_DRAWING = (GREY, WHITE, PURE_NOISE)
MILD_AT_FIRST = ("blur", "noise", "pixelation")
"""Damage whose first level leaves the drawing to be seen."""
BY_CLASS_ONLY = (WRONG_CLASS,)
"""What a pooled distance cannot see: of all classes together, images with other labels are the same images."""


@dataclass(frozen=True)
class Rung:
    """Real images under one damage: `kind` groups the rungs of one damage, `level` orders them from mild to strong.

    `change` takes images uint8 (N, 3, R, R) and labels int64 (N,) and returns damaged images of the same shape;
    `relabel` is added to the labels (modulo the number of classes) before images are compared.
    """

    name: str
    kind: str
    level: int
    change: Callable[[Tensor, Tensor], Tensor]
    relabel: int = 0


def rungs(side: int, seed: int = 0) -> list[Rung]:
    """Return the rungs for images of `side` pixels; blur, blocks and tiles are in proportion to the side.

    The mildest level of each damage is one that a person sees at once.
    """

    def each(kind: str, damage: Callable[[Tensor, float], Tensor], levels: Mapping[str, float]) -> list[Rung]:
        return [
            Rung(f"{kind} {text}", kind, level, partial(_changed, damage, value))
            for level, (text, value) in enumerate(levels.items())
        ]

    def noisy(images: Tensor, deviation: float) -> Tensor:
        return add_noise(images, deviation, torch.Generator().manual_seed(seed))

    sigmas = [side / share for share in (32, 16, 8)]
    blocks = [side // share for share in (16, 8, 4)]
    tiles = [side // share for share in (4, 8)]
    return [
        Rung(REAL, REAL, 0, lambda images, _: images),
        *each("blur", blur, {f"{value:g} px": value for value in sigmas}),
        *each("noise", noisy, {str(value): float(value) for value in (20, 40, 80)}),
        *each("pixelation", lambda images, value: pixelate(images, int(value)), {f"{b} px": b for b in blocks}),
        *each("shuffled", lambda images, value: shuffle(images, int(value), seed), {f"{t} px": t for t in tiles}),
        Rung(WRONG_CLASS, WRONG_CLASS, 0, lambda images, _: images, relabel=1),
        Rung(CLASS_MEAN, CLASS_MEAN, 0, class_means),
        Rung(GREY, GREY, 0, lambda images, _: torch.full_like(images, 128)),
        Rung(WHITE, WHITE, 0, lambda images, _: torch.full_like(images, 255)),
        Rung(PURE_NOISE, PURE_NOISE, 0, lambda images, _: uniform_noise(images, seed)),
    ]


def _changed(damage: Callable[[Tensor, float], Tensor], value: float, images: Tensor, _: Tensor) -> Tensor:
    """Return images under a damage of strength `value`; labels do not count."""
    return to_bytes(damage(images, value))


def shuffle(images: Tensor, tile: int, seed: int) -> Tensor:
    """Return images (N, 3, R, R), each cut into tiles of `tile` pixels a side that change places at random."""
    generator = torch.Generator().manual_seed(seed)
    count, channels, side, _ = images.shape
    across = side // tile
    parts = images.reshape(count, channels, across, tile, across, tile).permute(0, 2, 4, 1, 3, 5)
    parts = parts.reshape(count, across * across, channels, tile, tile)
    order = torch.stack([torch.randperm(across * across, generator=generator) for _ in range(count)])
    parts = torch.stack([part[index] for part, index in zip(parts, order, strict=True)])
    parts = parts.reshape(count, across, across, channels, tile, tile).permute(0, 3, 1, 4, 2, 5)
    return parts.reshape(images.shape)


def class_means(images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean image of its class, uint8 (N, 3, R, R), in the place of each image; labels int64 (N,)."""
    means = images.float()
    for label in torch.unique(labels):
        means[labels == label] = images[labels == label].float().mean(0)
    return to_bytes(means)


def uniform_noise(images: Tensor, seed: int) -> Tensor:
    """Return uniform grey levels in the shape of images (N, 3, R, R), uint8."""
    return torch.randint(0, 256, images.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def broken_order(values: Mapping[str, float], climbed: Sequence[Rung]) -> list[tuple[str, str]]:
    """Return the pairs of rungs that a distance has in the wrong order, each as (should be below, should be above).

    Real images are below everything; within a kind of damage the distance grows with the level; what is no drawing
    (grey, white, pure noise) is above the mildest level of blur, noise and pixelation and above the wrong class; and
    the class mean is above these mildest levels too. Nothing is asked between the class mean and the blanks, none of
    which have any variety. `values` may lack rungs that the distance cannot see.
    """
    seen = [rung for rung in climbed if rung.name in values]
    pairs = [(REAL, rung.name) for rung in seen if rung.name != REAL]
    kinds = dict.fromkeys(rung.kind for rung in seen)
    graded = [[rung.name for rung in seen if rung.kind == kind] for kind in kinds]
    pairs += [pair for names in graded for pair in itertools.pairwise(names)]
    mild = [names[0] for kind, names in zip(kinds, graded, strict=True) if kind in MILD_AT_FIRST]
    worst = [
        *((CLASS_MEAN, low) for low in mild),
        *((high, low) for high in NO_DRAWING for low in [*mild, WRONG_CLASS]),
    ]
    pairs += [(low, high) for high, low in worst if {low, high} <= values.keys()]
    return [(low, high) for low, high in pairs if not values[low] < values[high]]
