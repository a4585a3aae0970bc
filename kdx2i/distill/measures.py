"""What a student has learned from its teacher: measures on held-out triplets, each beside its yardsticks.

Images are compared as they are seen, clamped to [-1, 1]; L1 is a mean over all elements. The yardsticks of a student by
one guidance are what costs nothing: x1 itself, the best constant image, and the student with another triplet's
reference (or noise).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdx2i.distill.i2i import I2IDistillation
from kdx2i.methods.base import Features, I2IStudent
from kdx2i.teacher.triplets import Triplets
from kdx2i.training.determinism import derive_seed

GALLERY = 100
"""Among how many images a student's own y must be the nearest, for its retrieval."""
COUNT = 4 * GALLERY
"""Held-out triplets."""
PIXELS = GALLERY * 64**2
"""Pixels of the y that are drawn at a time: a hundred triplets of 256 px, with their features, would fill a GPU."""


@torch.no_grad()
def measure(distillation: I2IDistillation, seed: int, count: int = COUNT) -> dict[str, Any]:
    """Return the measures of a distillation's averaged student on `count` fresh triplets.

    Retrieval is among `GALLERY` of them, of which `count` is a multiple, or among all where they are less.

    `guidance`: by each guidance that was distilled, `l1` between y and y_S; `l1_copy` of x1, None where y is x1;
    `l1_constant` of the pixelwise median of all y; `l1_shuffled` of the student with the reference or noise of the next
    triplet of those drawn together; `response`, how much that changes the student's image over how much it changes y,
    None where y is x1; `retrieval`, the share in per cent of y_S that are nearest to their own y. `alignment`: of eqs.
    (1) to (3), by resolution, L1 between the features of both sides over the mean size of the teacher's, of what was
    drawn first. `energy`: the energy distance of y_S (both guidances) from y, beside `energy_blend` of the means of two
    y. `distilled`, and the `reason`.
    """
    averaged = distillation.student.with_networks({**distillation.networks, **distillation.averages})
    torch.manual_seed(derive_seed(seed, "held-out triplets"))
    gallery = min(GALLERY, count)
    part = drawn_together(gallery, distillation.teacher_generator.config.img_resolution)
    drawn: list[Triplets] = []
    alignment: dict[str, dict[str, float]] | None = None
    for _ in range(count // part):
        t = distillation.draw(part, share=False, others=True)
        if alignment is None and distillation.transfer.alignment:
            alignment = _alignment(distillation, averaged, t)
        drawn.append(replace(t, features={}))  # They are most of the memory.
    targets = [seen(t.y) for t in drawn]
    y = torch.cat(targets)
    copied = _mean([_l1(seen(t.x1), seen(t.y)) for t in drawn]) if distillation.transfer.mixing else None
    constant = y.median(dim=0).values.expand_as(y)
    yardsticks = {"l1_copy": copied, "l1_constant": _l1(constant, y)}
    guidances = ["reference", "latent"] if distillation.settings.guidance == "both" else ["reference"]
    images: dict[str, list[Tensor]] = {}
    measured: dict[str, dict[str, Any]] = {}
    for name in guidances:
        pairs = [_images(averaged, t, name) for t in drawn]
        images[name] = [own for own, _ in pairs]
        measured[name] = {
            "l1": _mean([_l1(own, seen(t.y)) for (own, _), t in zip(pairs, drawn, strict=True)]),
            **yardsticks,
            "l1_shuffled": _mean([_l1(other, seen(t.y)) for (_, other), t in zip(pairs, drawn, strict=True)]),
            "response": _response(pairs, drawn),
            "retrieval": 100
            * _mean(list(map(retrieval, in_galleries(images[name], gallery), in_galleries(targets, gallery)))),
        }
    document: dict[str, Any] = {"triplets": count, "guidance": measured}
    if alignment is not None:
        document["alignment"] = alignment
    everything = torch.cat([torch.cat(parts) for parts in images.values()])
    document["energy"] = energy_distance(everything, y)
    document["energy_blend"] = energy_distance((y + y.roll(1, 0)) / 2, y)
    distilled, reason = verdict(document, aligned="generator" in distillation.transfer.alignment)
    return {**document, "distilled": distilled, "reason": reason}


def verdict(document: Mapping[str, Any], *, aligned: bool) -> tuple[bool, str]:
    """Say whether a student is distilled, and why: it beats every yardstick by every guidance.

    Without eq. (3) (w/o-L1) nothing ties y_S to its own y: such a student is asked for the teacher's images as a
    whole, by the energy distance.
    """
    if not aligned:
        better = document["energy"] < document["energy_blend"]
        word = "nearer to" if better else "no nearer to"
        return better, f"its images are {word} the teacher's than blends of two of them (energy distance)"
    losing = []
    for guidance, values in document["guidance"].items():
        for name in ("copy", "constant", "shuffled"):
            yardstick = values[f"l1_{name}"]
            if yardstick is not None and not values["l1"] < yardstick:
                losing.append(f"by {guidance}, L1 {values['l1']:.3f} against {yardstick:.3f} ({name})")
    return not losing, "; ".join(losing) or "nearer to y than copy, constant and shuffled, by every guidance"


def seen(images: Tensor) -> Tensor:
    """Return images [B, 3, R, R] clamped to [-1, 1], as they are seen."""
    return images.float().clamp(-1, 1)


def drawn_together(gallery: int, resolution: int) -> int:
    """Return how many triplets or pairs of `resolution` px are drawn at a time: a divisor of `gallery` from 2 on."""
    most = max(2, PIXELS // resolution**2)
    return next(size for size in range(min(gallery, most), 0, -1) if gallery % size == 0)


def in_galleries(parts: Sequence[Tensor], gallery: int) -> list[Tensor]:
    """Return images [B, 3, R, R] of equal B as galleries of `gallery` images."""
    each = gallery // len(parts[0])
    return [torch.cat(list(parts[start : start + each])) for start in range(0, len(parts), each)]


def retrieval(drawn: Tensor, targets: Tensor) -> float:
    """Return the share of images [B, 3, R, R] whose nearest target [B, 3, R, R] by L1 is their own."""
    nearest = torch.cdist(drawn.flatten(1), targets.flatten(1), p=1).argmin(dim=1)
    return float((nearest == torch.arange(len(drawn), device=nearest.device)).double().mean())


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Return the energy distance of two sets of images [N, 3, R, R], [M, 3, R, R], L2 per root element, unbiased.

    2 E|A - B| - E|A - A'| - E|B - B'|, pairs of an image with itself left out; below zero by chance.
    """
    first, second = a.flatten(1), b.flatten(1)
    scale = first.shape[1] ** 0.5

    def within(x: Tensor) -> float:
        return float(torch.cdist(x, x).double().sum() / (len(x) * (len(x) - 1)))

    between = float(torch.cdist(first, second).double().mean())
    return float((2 * between - within(first) - within(second)) / scale)


def _l1(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().double().mean())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _images(student: I2IStudent, t: Triplets, guidance: str) -> tuple[Tensor, Tensor]:
    """Return the student's images with each triplet's own style and with that of the next triplet."""
    content = student.encode(t.x1)[0]
    style = student.style_from_image(t.x2)[0] if guidance == "reference" else student.style_from_noise(t.noise)
    own, other = (seen(student.decode(content, s)[0]) for s in (style, style.roll(-1, 0)))
    return own, other


def _response(pairs: list[tuple[Tensor, Tensor]], drawn: list[Triplets]) -> float | None:
    asked = [_l1(seen(t.other_y), seen(t.y)) for t in drawn if t.other_y is not None]
    return _mean([_l1(own, other) for own, other in pairs]) / _mean(asked) if asked else None


def _alignment(distillation: I2IDistillation, student: I2IStudent, t: Triplets) -> dict[str, dict[str, float]]:
    """Return, for eqs. (1) to (3), the relative distance of the features of triplets by resolution."""
    content, encoded = student.encode(t.x1)
    style, styled = student.style_from_image(t.x2)
    decoded = student.decode(content, style)[1]
    sides: dict[str, tuple[Features, Features]] = {
        "encoder": (distillation.judged(t.x1), encoded),
        "style": (distillation.judged(t.x2), styled),
        "generator": (t.features, decoded),
    }
    relative: dict[str, dict[str, float]] = {}
    for name in distillation.transfer.alignment:
        teacher, own = sides[name]
        matched = distillation.matched(name, teacher, own)
        relative[name] = {
            str(r): _l1(matched[0][r], f) / float(matched[0][r].abs().mean()) for r, f in matched[1].items()
        }
    return relative
