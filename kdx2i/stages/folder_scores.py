"""The metrics of two sets of images: each an entry with value, uncertainty and counts, or the reason why not."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.alternatives import Labelled
from kdx2i.metrics.classifiers.classifier import wilson_interval
from kdx2i.metrics.classifiers.probe import train_probe
from kdx2i.metrics.distances.classwise import Classwise, classwise_distances
from kdx2i.metrics.distances.estimates import Interval, normal_interval
from kdx2i.metrics.distances.frechet_error import frechet_estimate
from kdx2i.metrics.distances.infinity import frechet_infinity
from kdx2i.metrics.distances.kernel import kernel_estimate
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.images.embedding import Embedding
from kdx2i.metrics.images.streams import ImageFiles
from kdx2i.metrics.inception_score import score_entry
from kdx2i.metrics.perceptual.diversity import diversity
from kdx2i.metrics.perceptual.trunks import build_perceptual
from kdx2i.metrics.segmentation.bisenet import load_face_parser
from kdx2i.metrics.segmentation.label_orders import CELEBAMASK_HQ, FACE_PARSING
from kdx2i.metrics.segmentation.mean_iou import Segmenter, segmentation_entry
from kdx2i.metrics.segmentation.segmenter import load_segmenter
from kdx2i.metrics.settings import ClassifierSettings
from kdx2i.metrics.threads import single_thread
from kdx2i.stages.folder_labels import label_maps

# What may be asked for, and the metric's name in the tables.
METRICS = {
    "fid": "FID",
    "kid": "KIDx100",
    "is": "IS",
    "mfid": "mFID",
    "mkid": "mKIDx100",
    "rc": "RC",
    "fc": "FC",
    "lpips": "LPIPS",
    "miou": "mIoU",
}
# How label maps may be numbered, beside the segmenter's own way.
LABEL_ORDERS = {"celebamask-hq": CELEBAMASK_HQ, "face-parsing": FACE_PARSING}
CLASSWISE = ("mfid", "mkid", "rc", "fc")
MOST_OUTPUTS = 100  # of one source: files that are merely numbered would be one source with all images
SPLITS = 10


@dataclass(frozen=True)
class Pair:
    """What is scored against what."""

    generated: ImageFiles
    reference: ImageFiles
    labels: Path | None
    segmenter: Path | None
    label_order: str
    infinity: bool
    seed: int
    batch: int
    device: torch.device

    @property
    def classes(self) -> int:
        """The number of classes that both sets have, 1 for flat ones."""
        return max(len(self.reference.classes), 1)

    @cached_property
    def sources(self) -> dict[str, list[int]]:
        """The generated images by source: the name without a last `_<number>`."""
        groups: dict[str, list[int]] = {}
        for number, name in enumerate(self.generated.names):
            path = PurePosixPath(name)
            source = re.sub(r"_\d+$", "", path.stem)
            if source != path.stem:
                groups.setdefault(str(path.parent / source), []).append(number)
        return groups


def refusals(pair: Pair) -> dict[str, str]:
    """Return why a metric cannot be computed, as far as names and counts tell, by the name it is asked for."""
    found: dict[str, str] = {}
    least = min((len(pair.generated), "generated"), (len(pair.reference), "reference"))
    if least[0] < 2:
        found |= dict.fromkeys(("fid", "kid"), f"there is {least[0]} {least[1]} image, and two are needed on each side")
    if len(pair.generated) < SPLITS:
        found["is"] = f"there are {len(pair.generated)} generated images, and its {SPLITS} parts need one each"
    reason = class_mismatch(pair)
    few = _few_images(pair) if reason is None else None
    for name in CLASSWISE:
        if reason or (few and name in ("mfid", "mkid")):
            found[name] = reason or few or ""
    found |= {name: reason for name, reason in (("lpips", _no_sources(pair)), ("miou", _no_labels(pair))) if reason}
    return found


def class_mismatch(pair: Pair) -> str | None:
    """Return why the two sets do not have the same two or more classes."""
    generated, reference = pair.generated.classes, pair.reference.classes
    if not generated or not reference:
        flat = [name for name, classes in (("generated", generated), ("reference", reference)) if not classes]
        both = "both sets are flat" if len(flat) == 2 else f"the {flat[0]} images are flat"
        return f"{both}, and class-wise metrics need one sub-folder a class in both"
    parts = []
    for name, mine, other in (("generated", generated, reference), ("reference", reference, generated)):
        lacking = sorted(set(other) - set(mine))
        if lacking:
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            parts.append(f"the {name} images have no class {', '.join(lacking[:5])}{more}")
    if parts:
        return "the class folders differ: " + ", ".join(parts)
    return "there is only one class" if len(generated) < 2 else None


def _few_images(pair: Pair) -> str | None:
    """Return the first class with fewer than two images on one side, with the counts."""
    counts = [
        torch.bincount(images.labels, minlength=pair.classes).tolist() for images in (pair.generated, pair.reference)
    ]
    short = [label for label in range(pair.classes) if min(counts[0][label], counts[1][label]) < 2]
    if not short:
        return None
    name, (made, real) = pair.reference.classes[short[0]], (counts[0][short[0]], counts[1][short[0]])
    more = f" ({len(short)} such classes)" if len(short) > 1 else ""
    return f"class {name} has {made} generated and {real} reference images, and two of each are needed{more}"


def _no_sources(pair: Pair) -> str | None:
    """Return why the generated images are not several outputs a source."""
    advice = "name them <source>_<number>, with 2 to 100 outputs a source"
    if not pair.sources:
        return f"the names of the generated images do not say which share a source: {advice}"
    smallest, largest = min(pair.sources.items(), key=_size), max(pair.sources.items(), key=_size)
    if len(smallest[1]) < 2:
        return f"the source {smallest[0]} has one output: {advice}"
    if len(largest[1]) > MOST_OUTPUTS:
        return f"the names put {len(largest[1])} images under one source, {largest[0]}: {advice}"
    return None


def _size(group: tuple[str, list[int]]) -> int:
    return len(group[1])


def _no_labels(pair: Pair) -> str | None:
    """Return why there is nothing to segment."""
    absent = [option for option, value in (("--labels", pair.labels), ("--segmenter", pair.segmenter)) if value is None]
    return f"it needs {' and '.join(absent)}" if absent else None


def scores(
    pair: Pair,
    extractor: Extractor,
    generated: Embedding,
    reference: Embedding,
    wanted: Sequence[str],
    refused: dict[str, str],
) -> dict[str, Any]:
    """Return the entry of each wanted metric by its name in the tables, None with a reason where it is refused."""
    scorer = _Scorer(pair, extractor, generated, reference)
    found: dict[str, Any] = {}
    for name in wanted:
        found[METRICS[name]] = _absent(refused[name]) if name in refused else _checked(scorer.methods[name])
        if name == "fid" and pair.infinity:
            found["FIDinf"] = _absent(refused[name]) if name in refused else _checked(scorer.fid_infinity)
    return found


def _absent(reason: str) -> dict[str, Any]:
    return {"value": None, "reason": reason}


def _checked(compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a metric's entry; what a user could mend becomes its reason."""
    try:
        return compute()
    except UserError as error:
        return _absent(str(error))


class _Scorer:
    """Computes one metric a method, from the features of both sets."""

    def __init__(self, pair: Pair, extractor: Extractor, generated: Embedding, reference: Embedding) -> None:
        self.pair, self.extractor = pair, extractor
        self.generated, self.reference = generated, reference
        self.counts = {"n_real": len(pair.reference), "n_generated": len(pair.generated)}
        self.methods: dict[str, Callable[[], dict[str, Any]]] = {
            "fid": self.fid,
            "kid": self.kid,
            "is": self.inception_score,
            "mfid": self.mfid,
            "mkid": self.mkid,
            "rc": self.rc,
            "fc": self.fc,
            "lpips": self.lpips,
            "miou": self.miou,
        }

    @cached_property
    def labelled(self) -> tuple[Labelled, Labelled]:
        """Both sets with their classes, in memory."""
        sides = ((self.generated, self.pair.generated), (self.reference, self.pair.reference))
        made, real = (Labelled.of(embedding, images.labels) for embedding, images in sides)
        return made, real

    @cached_property
    def classwise(self) -> Classwise:
        """The distances of each class."""
        made, real = self.pair.generated.labels, self.pair.reference.labels
        return classwise_distances(self.generated.features, made, self.reference.features, real, self.pair.classes)

    def fid(self) -> dict[str, Any]:
        """Return FID of all images with its jackknife error."""
        with single_thread():
            found = frechet_estimate(self.generated.features, self.reference.features)
        rank = min(len(self.pair.generated), len(self.pair.reference)) - 1
        few = f"{rank + 1} images for {self.extractor.dimension} features: mostly bias, compare at equal counts only"
        return {**_entry(found), **self.counts, "note": few if rank < self.extractor.dimension else ""}

    def kid(self) -> dict[str, Any]:
        """Return 100 x KID of all images with its jackknife error."""
        with single_thread():
            found = kernel_estimate(self.generated.features, self.reference.features)
        return {**_entry(normal_interval(found.value, found.standard_error), 100.0), **self.counts}

    def mfid(self) -> dict[str, Any]:
        """Return the mean of FID over the classes."""
        return self._mean(self.classwise.mean_frechet(), self.classwise.frechet)

    def mkid(self) -> dict[str, Any]:
        """Return 100 x the mean of KID over the classes."""
        return self._mean(self.classwise.mean_kernel(), self.classwise.kernel, 100.0)

    def _mean(self, mean: Interval | None, values: Sequence[float | None], scale: float = 1.0) -> dict[str, Any]:
        assert mean is not None  # every class has two images: `refusals` has looked
        names = self.pair.reference.classes
        per_class = {name: scale * value for name, value in zip(names, values, strict=True) if value is not None}
        return {**_entry(mean, scale), **self.counts, "classes": len(names), "per_class": per_class}

    def inception_score(self) -> dict[str, Any]:
        """Return the Inception Score of the generated images."""
        if self.generated.logits is None:
            return _absent(f"{self.extractor.name} has no logits")
        return score_entry(self.generated.logits, "torch-fidelity", self.extractor.name)

    def fid_infinity(self) -> dict[str, Any]:
        """Return FID extrapolated to infinitely many generated images."""
        with single_thread():
            found = frechet_infinity(self.generated.features, self.reference.features, seed=self.pair.seed)
        if found.value is None:
            return _absent(str(found.reason))
        note = f"from {min(found.sizes)} to {max(found.sizes)} generated images"
        if not found.linear:
            note += f", too few for {self.extractor.dimension} features: a direction, not a value"
        return {"value": found.value, **self.counts, "linear": found.linear, "note": note}

    def miou(self) -> dict[str, Any]:
        """Return the mean IoU of the segmented generated images with their label maps."""
        pair = self.pair
        assert pair.labels is not None and pair.segmenter is not None
        maps = label_maps(pair.labels, pair.generated.names)
        load = load_segmenter if pair.segmenter.suffix == ".safetensors" else load_face_parser
        segmenter: Segmenter = load(pair.segmenter, pair.device)
        names = LABEL_ORDERS.get(pair.label_order, segmenter.classes)
        images = [image for _, block in pair.generated.blocks(pair.batch) for image in block]
        if len({image.shape for image in images}) > 1:
            raise UserError("the generated images have different sizes, and mIoU needs one size")
        entry = segmentation_entry(torch.stack(images), maps, names, segmenter, batch=pair.batch)
        if entry["value"] is None:
            return entry
        return entry | _entry(normal_interval(entry["value"], entry["standard_error"]))

    def rc(self) -> dict[str, Any]:
        """Return the accuracy of a classifier of the reference images on the generated ones."""
        made, real = self.labelled
        return self._accuracy(real, made)

    def fc(self) -> dict[str, Any]:
        """Return the accuracy of a classifier of the generated images on the reference ones."""
        made, real = self.labelled
        note = "tested on all reference images: no held-out split is known"
        return {**self._accuracy(made, real), "note": note}

    def _accuracy(self, train: Labelled, test: Labelled) -> dict[str, Any]:
        settings = ClassifierSettings()
        classes = self.pair.classes
        probe = train_probe(train.features, train.labels, classes, settings.l2, settings.max_iterations)
        right = int((probe.logits(test.features).argmax(1) == test.labels).sum())
        interval = list(wilson_interval(right, len(test)))
        value = 100.0 * right / len(test)
        return {"value": value, "interval": interval, **self.counts, "classes": classes}

    def lpips(self) -> dict[str, Any]:
        """Return the mean distance between outputs of the same source."""
        # The stand-in goes with the stand-in extractor: neither is what a paper means.
        name = "efficientnet-lite0" if self.extractor.name == "efficientnet-lite0" else "alexnet"
        return diversity(self._groups(), build_perceptual(name, device=self.pair.device))

    def _groups(self) -> Iterator[Tensor]:
        """Yield the outputs of each source, uint8 (K, 3, H, W), as soon as the last one is decoded."""
        sources = self.pair.sources
        source_of = {number: source for source, members in sources.items() for number in members}
        waiting: dict[str, list[Tensor]] = {}
        for start, images in self.pair.generated.blocks(self.pair.batch):
            for number, image in enumerate(images, start):
                if number not in source_of:
                    continue
                source = source_of[number]
                waiting.setdefault(source, []).append(image)
                if len(waiting[source]) == len(sources[source]):
                    group = waiting.pop(source)
                    if len({one.shape for one in group}) > 1:
                        raise UserError(f"the outputs of the source {source} have different sizes")
                    yield torch.stack(group)


def _entry(found: Interval, scale: float = 1.0) -> dict[str, Any]:
    """Return an estimate as an entry."""
    interval = None if found.low is None or found.high is None else [scale * found.low, scale * found.high]
    error = None if found.standard_error is None else scale * found.standard_error
    return {"value": scale * found.value, "standard_error": error, "interval": interval}
