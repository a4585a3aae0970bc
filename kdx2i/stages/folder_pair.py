"""Two sets of images to be scored: what can be computed of them, and what some metrics read beside their pixels."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.embedded_set import LabelMaps
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.segmentation.bisenet import load_face_parser
from kdx2i.metrics.segmentation.label_orders import CELEBAMASK_HQ, FACE_PARSING, relabelled
from kdx2i.metrics.segmentation.mean_iou import Segmenter
from kdx2i.metrics.segmentation.segmenter import load_segmenter
from kdx2i.stages.folder_differences import MeasuredFiles
from kdx2i.stages.folder_labels import label_maps
from kdx2i.stages.reference_statistics import ONLY_MOMENTS, Statistics

# How label maps may be numbered, beside the segmenter's own way.
LABEL_ORDERS = {"celebamask-hq": CELEBAMASK_HQ, "face-parsing": FACE_PARSING}
OF_MOMENTS = {"FID", "FIDinf", "IS", "LPIPS", "mIoU"}  # what mean and covariance of the reference are enough for
MOST_OUTPUTS = 100  # of one source: files that are merely numbered would be one source with all images
PARTS = 10  # of the Inception Score, in torch-fidelity's convention


@dataclass(frozen=True)
class Pair:
    """What is scored against what."""

    generated: MeasuredFiles
    reference: MeasuredFiles | Statistics
    labels: Path | None
    segmenter_file: Path | None
    label_order: str
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

    def outputs(self) -> Iterator[Tensor]:
        """Yield the outputs of each source, uint8 (K, 3, H, W), as soon as the last one is decoded.

        `UserError` for outputs of different sizes, and for files that cannot be read.
        """
        source_of = {number: source for source, members in self.sources.items() for number in members}
        waiting: dict[str, list[Tensor]] = {}
        for start, images in self.generated.blocks(self.batch):
            for number, image in enumerate(images, start):
                if number not in source_of:
                    continue
                source = source_of[number]
                waiting.setdefault(source, []).append(image)
                if len(waiting[source]) == len(self.sources[source]):
                    group = waiting.pop(source)
                    if len({one.shape for one in group}) > 1:
                        raise UserError(f"the outputs of the source {source} have different sizes")
                    yield torch.stack(group)

    @cached_property
    def label_maps(self) -> LabelMaps:
        """The label map of each generated image in the numbering that was named; errors as in `label_maps`."""
        assert self.labels is not None
        return LabelMaps(label_maps(self.labels, self.generated.names), LABEL_ORDERS.get(self.label_order))

    @cached_property
    def segmenter(self) -> Segmenter:
        """The segmenter of the file that was named; `UserError` for another file."""
        assert self.segmenter_file is not None
        load = load_segmenter if self.segmenter_file.suffix == ".safetensors" else load_face_parser
        segmenter: Segmenter = load(self.segmenter_file, self.device)
        return segmenter


def refusals(pair: Pair, asked: Sequence[str]) -> dict[str, str]:
    """Return why a metric cannot be computed, as far as can be told before images are read, by its catalogue name.

    Label maps are read where a metric that needs them is `asked` for. `UserError` for a segmenter that is none.
    """
    with_maps = any(Need.LABEL_MAPS in METRICS[name].needs for name in asked)
    checks = {
        Need.TWO_IMAGES: _too_few(pair),
        Need.CLASSES: class_mismatch(pair),
        Need.TWO_IMAGES_A_CLASS: None if class_mismatch(pair) else _few_images(pair),
        Need.PARTS: _no_parts(pair),
        Need.OUTPUTS: _no_sources(pair),
        Need.LABEL_MAPS: _no_labels(pair) or (_unfit_labels(pair) if with_maps else None),
    }
    reasons = {
        metric.name: [reason for need, reason in checks.items() if reason and need in metric.needs]
        for metric in METRICS.values()
    }
    moments = isinstance(pair.reference, Statistics) and pair.reference.features is None
    if moments:
        for name in set(reasons) - OF_MOMENTS:
            reasons[name].insert(0, ONLY_MOMENTS)
    return {name: first for name, (first, *_) in ((n, r) for n, r in reasons.items() if r)}


def _too_few(pair: Pair) -> str | None:
    """Return which set has fewer than two images."""
    least, side = min((len(pair.generated), "generated"), (len(pair.reference), "reference"))
    return f"there is {least} {side} image, and two are needed on each side" if least < 2 else None


def _no_parts(pair: Pair) -> str | None:
    """Return why the Inception Score cannot deal the images to its parts."""
    count = len(pair.generated)
    return f"there are {count} generated images, and its {PARTS} parts need one each" if count < PARTS else None


def class_mismatch(pair: Pair) -> str | None:
    """Return why the two sets do not have the same two or more classes."""
    generated, reference = pair.generated.classes, pair.reference.classes
    if not generated or not reference:
        flat = [name for name, classes in (("generated", generated), ("reference", reference)) if not classes]
        both = "both sets are flat" if len(flat) == 2 else f"the {flat[0]} images are flat"
        return f"{both}, and class-wise metrics need one sub-folder a class in both"
    parts = []
    for name, own, other in (("generated", generated, reference), ("reference", reference, generated)):
        lacking = sorted(set(other) - set(own))
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
    name, generated, reference = pair.reference.classes[short[0]], counts[0][short[0]], counts[1][short[0]]
    more = f" ({len(short)} such classes)" if len(short) > 1 else ""
    return f"class {name} has {generated} generated and {reference} reference images, and two of each are needed{more}"


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
    if _merely_numbered(pair):
        return f"the names number the images and would put all of a folder under one source, {largest[0]}: {advice}"
    return None


def _merely_numbered(pair: Pair) -> bool:
    """Return whether each folder of generated images would be the outputs of one source."""
    folders = Counter(str(PurePosixPath(name).parent) for name in pair.generated.names)
    of_sources = [(str(PurePosixPath(source).parent), len(members)) for source, members in pair.sources.items()]
    return len(of_sources) == len(folders) and all(folders[folder] == count for folder, count in of_sources)


def note_sources(values: Mapping[str, Entry], pair: Pair) -> None:
    """Note in an entry of what reads outputs of sources how many images, by their names, are none."""
    others = len(pair.generated) - sum(len(members) for members in pair.sources.values())
    for name, entry in values.items():
        if Need.OUTPUTS in METRICS[name].needs and entry["value"] is not None and others:
            entry["note"] = f"the names of {others} generated images say no source: they take no part"


def _size(group: tuple[str, list[int]]) -> int:
    return len(group[1])


def _no_labels(pair: Pair) -> str | None:
    """Return why there is nothing to segment."""
    given = (("--labels", pair.labels), ("--segmenter", pair.segmenter_file))
    absent = [option for option, value in given if value is None]
    return f"it needs {' and '.join(absent)}" if absent else None


def _unfit_labels(pair: Pair) -> str | None:
    """Return why the label maps do not go with the images and the segmenter."""
    segmenter = pair.segmenter
    try:
        maps = pair.label_maps
        for start in range(0, len(maps.maps), pair.batch):
            relabelled(maps.maps[start : start + pair.batch], maps.names or segmenter.classes, segmenter.classes)
    except UserError as error:
        return str(error)
    return None
