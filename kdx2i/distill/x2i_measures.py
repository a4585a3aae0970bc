"""What a student of text, speech or label maps has learned from its teacher: measures on held-out pairs (x1, y).

Images are compared as they are seen, clamped to [-1, 1]; L1 is a mean over all elements and over both images of a pair.
The student draws with the averaged networks, one noise for both images of a pair.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kdx2i.distill.measures import COUNT, GALLERY, drawn_together, energy_distance, in_galleries, retrieval, seen
from kdx2i.distill.pairs import Pairs
from kdx2i.distill.x2i import X2IDistillation
from kdx2i.methods.conditional_student import X2IStudent
from kdx2i.training.determinism import derive_seed

CONDITION = "pseudo-condition"
"""The name of the one way in which such a student is asked, where an image-to-image student has two guidances."""


@dataclass(frozen=True)
class Given:
    """Held-out pairs with what the student is given for them: noise, c_x and c_y, and the first feature."""

    pairs: Pairs
    noise: Tensor
    c: tuple[Tensor, Tensor]
    first: Tensor

    @property
    def targets(self) -> tuple[Tensor, Tensor]:
        """x1 and y as they are seen."""
        return seen(self.pairs.x1), seen(self.pairs.y)


@torch.no_grad()
def measure(distillation: X2IDistillation, seed: int, count: int = COUNT) -> dict[str, Any]:
    """Return the measures of a distillation's averaged student on `count` fresh pairs.

    Retrieval is among `GALLERY` of them, of which `count` is a multiple, or among all where they are less.

    `guidance` holds them under `CONDITION`: `l1` between teacher's and student's images; as yardsticks `l1_undistilled`
    of the student before its first update, `l1_constant` of the pixelwise median of all x1 and y, `l1_shuffled` with
    the next pair's c, `l1_wrong_first` with its first feature; `l1_without_first` and `l1_without_first_shuffled`, as
    in stage 2, without a first feature; `retrieval` (and without the first feature), the share in per cent of images
    nearest to their own of the gallery; `response`, the size of y_S - x1_S over that of y - x1, and `direction`, the
    mean cosine between these differences. `alignment`, `energy`, `energy_blend`, `distilled` and `reason` are as in
    `kdx2i.distill.measures`. Nothing is None but `l1_copy`, which has no meaning here.
    """
    networks = {**distillation.networks, **distillation.averages}
    student = distillation.student.with_networks(networks)
    torch.manual_seed(derive_seed(seed, "held-out triplets"))
    gallery = min(GALLERY, count)
    part = drawn_together(gallery, distillation.teacher_generator.config.img_resolution)
    held_out = [_given(distillation, networks, part, keep=number == 0) for number in range(count // part)]
    images = torch.cat([target for g in held_out for target in g.targets])
    constant = images.median(dim=0).values
    drawn = [_images(student, g) for g in held_out]
    undistilled = _undistilled(distillation, networks)
    measured: dict[str, Any] = {
        "l1": _distance(drawn, held_out),
        "l1_copy": None,
        "l1_undistilled": _distance([_images(undistilled, g) for g in held_out], held_out),
        "l1_constant": float((images - constant).abs().double().mean()),
        "l1_shuffled": _distance([_images(student, g, rolled_c=True) for g in held_out], held_out),
        "l1_wrong_first": _distance([_images(student, g, first="rolled") for g in held_out], held_out),
    }
    alone = [_images(student, g, first=None) for g in held_out]
    shuffled = [_images(student, g, first=None, rolled_c=True) for g in held_out]
    measured |= {
        "l1_without_first": _distance(alone, held_out),
        "l1_without_first_shuffled": _distance(shuffled, held_out),
        **_differences(drawn, held_out),
        "retrieval": _retrieval(drawn, held_out, gallery),
        "retrieval_without_first": _retrieval(alone, held_out, gallery),
    }
    document: dict[str, Any] = {"triplets": count, "guidance": {CONDITION: measured}}
    aligned = "generator" in distillation.transfer.alignment
    if aligned:
        document["alignment"] = {"generator": _alignment(distillation, student, held_out[0])}
    document["energy"] = energy_distance(torch.cat([image for pair in drawn for image in pair]), images)
    document["energy_blend"] = energy_distance((images + images.roll(1, 0)) / 2, images)
    distilled, reason = verdict(document, aligned=aligned)
    return {**document, "distilled": distilled, "reason": reason}


def verdict(document: Mapping[str, Any], *, aligned: bool) -> tuple[bool, str]:
    """Say whether a student is distilled, and why.

    It is when its images are nearer to the teacher's than those of the undistilled student, than one constant image,
    and than its own with a wrong condition or first feature, and when retrieval is at least ten times chance. Without
    eq. (6) (w/o-L1) nothing ties an image to the teacher's: then the images as a whole decide, by the energy distance.
    """
    if not aligned:
        better = document["energy"] < document["energy_blend"]
        word = "nearer to" if better else "no nearer to"
        return better, f"its images are {word} the teacher's than blends of two of them (energy distance)"
    values, chance = document["guidance"][CONDITION], 100 / min(GALLERY, document["triplets"])
    names = {"undistilled": "undistilled", "constant": "constant", "shuffled": "wrong condition",
             "wrong_first": "wrong first feature"}  # fmt: skip
    losing = [
        f"L1 {values['l1']:.3f} against {values[f'l1_{name}']:.3f} ({title})"
        for name, title in names.items()
        if not values["l1"] < values[f"l1_{name}"]
    ]
    if values["retrieval"] < 10 * chance:
        losing.append(f"retrieval {values['retrieval']:.0f} %, less than ten times chance")
    good = "nearer to the teacher's images than every yardstick, retrieval at least ten times chance"
    return not losing, "; ".join(losing) or good


def _given(distillation: X2IDistillation, networks: Mapping[str, nn.Module], count: int, *, keep: bool) -> Given:
    """Draw pairs; `keep` keeps their features, which are most of the memory."""
    pairs = distillation.draw(count, share=False)
    noise = torch.randn(count, distillation.student.noise_dim).to(distillation.device)
    c = (distillation.pseudo_condition(pairs.x1, networks), distillation.pseudo_condition(pairs.y, networks))
    feature = pairs.features_x[distillation.settings.first_resolution]
    first = distillation.first_feature(feature, networks)
    return Given(pairs if keep else replace(pairs, features_x={}, features_y={}), noise, c, first)


def _undistilled(distillation: X2IDistillation, networks: Mapping[str, nn.Module]) -> X2IStudent:
    """Return the student as it was before its first update."""
    first = {name: copy.deepcopy(distillation.averages[name]) for name in distillation.initial}
    for name, tensors in distillation.initial.items():
        first[name].load_state_dict(tensors)
    return distillation.student.with_networks({**networks, **first})


def _images(
    student: X2IStudent, g: Given, *, rolled_c: bool = False, first: str | None = "own"
) -> tuple[Tensor, Tensor]:
    """Return x1_S and y_S; the condition or the first feature may be those of the next pair, or the latter absent."""
    feature = {"own": g.first, "rolled": g.first.roll(-1, 0)}[first] if first else None
    x1, y = (seen(student.generate(g.noise, c.roll(-1, 0) if rolled_c else c, feature)[0]) for c in g.c)
    return x1, y


def _distance(drawn: Sequence[tuple[Tensor, Tensor]], held_out: Sequence[Given]) -> float:
    distances = [
        float((own - target).abs().double().mean())
        for images, g in zip(drawn, held_out, strict=True)
        for own, target in zip(images, g.targets, strict=True)
    ]
    return sum(distances) / len(distances)


def _retrieval(drawn: Sequence[tuple[Tensor, Tensor]], given: Sequence[Given], gallery: int) -> float:
    own, targets = (
        [in_galleries(side, gallery) for side in zip(*pairs, strict=True)]
        for pairs in (drawn, [g.targets for g in given])
    )
    shares = [
        retrieval(*both)
        for sides in zip(*own, *targets, strict=True)
        for both in zip(sides[:2], sides[2:], strict=True)
    ]
    return 100 * sum(shares) / len(shares)


def _differences(drawn: Sequence[tuple[Tensor, Tensor]], held_out: Sequence[Given]) -> dict[str, float]:
    """Return size and direction of y_S - x1_S beside y - x1."""
    own = torch.cat([y - x1 for x1, y in drawn]).flatten(1).double()
    teachers = torch.cat([y - x1 for x1, y in (g.targets for g in held_out)]).flatten(1).double()
    direction = torch.nn.functional.cosine_similarity(own, teachers, dim=1)
    sizes = {"difference": float(own.abs().mean()), "difference_teacher": float(teachers.abs().mean())}
    ratio = sizes["difference"] / max(sizes["difference_teacher"], 1e-12)
    return {"response": ratio, "direction": float(direction.mean()), **sizes}


def _alignment(distillation: X2IDistillation, student: X2IStudent, g: Given) -> dict[str, float]:
    """Return the relative distance of the features of eq. (6) by resolution, of y."""
    teacher, own = distillation.matched(g.pairs.features_y, student.generate(g.noise, g.c[1], g.first)[1])
    return {str(r): float((own[r] - f).abs().mean() / f.abs().mean()) for r, f in teacher.items()}
