"""mIoU: a segmenter's maps of generated images against the maps that they were generated from."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as functional
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.segmentation.label_orders import relabelled

AbsentClasses = Literal["exclude", "target", "zero"]


class Segmenter(Protocol):
    """A network that maps uint8 images (B, 3, H, W) to label maps uint8 (B, R, R) at its own resolution R."""

    @property
    def name(self) -> str:
        """Return the name that stands beside every value."""

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of its weights."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of its labels, in their order; the first is the background."""

    def segment(self, images: Tensor) -> Tensor:
        """Return the label maps."""


@dataclass(frozen=True)
class MeanIoU:
    """`value` in percent and the IoU of each class in percent, None for one that does not count."""

    value: float | None
    per_class: tuple[float | None, ...]


def confusion_matrix(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    """Return int64 (classes, classes), rows = target, columns = prediction, of integer maps of one shape.

    Matrices of parts of a test set add up; an IoU is taken of the whole sum. `UserError` for other shapes or
    labels outside 0 .. classes - 1.
    """
    if prediction.shape != target.shape:
        raise UserError(f"prediction and target differ in shape: {tuple(prediction.shape)}, {tuple(target.shape)}")
    for what, labels in (("prediction", prediction), ("target", target)):
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            range_of_labels = f"{int(labels.min())} .. {int(labels.max())}"
            raise UserError(f"labels of the {what} must lie in 0 .. {classes - 1}, found {range_of_labels}")
    pairs = target.long() * classes + prediction.long()
    return torch.bincount(pairs.flatten().cpu(), minlength=classes**2).view(classes, classes)


def mean_iou(
    confusion: Tensor, *, absent: AbsentClasses = "exclude", background: bool = True, among: Tensor | None = None
) -> MeanIoU:
    """Return the mean over classes of TP / (TP + FP + FN) of a confusion matrix (C, C).

    `absent` says what happens to a class that does not occur: `exclude` leaves out classes that neither map has,
    `target` all that the target lacks, `zero` counts 0 for those. Without `background`, class 0 does not
    enter the mean (its pixels still count against the others), and with `among`, bool (C,), no other class does. The
    value is None when no class counts.
    """
    hits = confusion.diagonal()
    unions = confusion.sum(0) + confusion.sum(1) - hits
    counted = (unions if absent != "target" else confusion.sum(1)) > 0
    if absent == "zero":
        counted = torch.ones_like(counted)
    if not background:
        counted[0] = False
    if among is not None:
        counted &= among
    ious = 100.0 * hits.double() / unions.clamp_min(1)
    per_class = tuple(iou if use else None for iou, use in zip(ious.tolist(), counted.tolist(), strict=True))
    present = [iou for iou in per_class if iou is not None]
    return MeanIoU(math.fsum(present) / len(present) if present else None, per_class)


def merged(confusion: Tensor, classes: Sequence[str], same: Mapping[str, str]) -> tuple[Tensor, tuple[str, ...]]:
    """Return the matrix and names of confusion int64 (C, C) after each class in `same` counted as what it maps to."""
    kept = tuple(name for name in classes if name not in same)
    place = torch.tensor([kept.index(same.get(name, name)) for name in classes])
    rows = torch.zeros(len(kept), len(classes), dtype=torch.int64).index_add_(0, place, confusion)
    return torch.zeros(len(kept), len(kept), dtype=torch.int64).index_add_(1, place, rows), kept


def segmentation_entry(
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    segmenter: Segmenter,
    *,
    resolution: int | None = None,
    background: bool = True,
    absent: AbsentClasses = "exclude",
    same: Mapping[str, str] | None = None,
    batch: int = 64,
) -> dict[str, Any]:
    """Return the entry mIoU of uint8 images (N, 3, H, W) made from the label maps (N, h, w).

    `names` are the classes of the maps in their numbering, which may be another one than the segmenter's. The
    comparison is at `resolution` pixels (None: the segmenter's own), labels resized by the nearest pixel's
    centre. The standard error is that of the value under resampling of images (delete-one jackknife). `same`
    adds `merged_value`, with some classes counted as another. `common` is the mean over the classes that at least half
    of the label maps have: a class of a few images moves it less. `UserError` for images without maps.
    """
    if len(images) != len(labels):
        raise UserError(f"mIoU needs one label map for each image, got {len(labels)} for {len(images)}")
    count = len(segmenter.classes)
    per_image = torch.zeros(len(images), count, count, dtype=torch.int64)
    for start in range(0, len(images), batch):
        predicted = segmenter.segment(images[start : start + batch])
        size = resolution or predicted.shape[-1]
        target = at_size(relabelled(labels[start : start + batch], names, segmenter.classes), size)
        for number, pair in enumerate(zip(at_size(predicted, size), target, strict=True), start):
            per_image[number] = confusion_matrix(*pair, count)
    confusion = per_image.sum(0)
    result = mean_iou(confusion, absent=absent, background=background)
    entry: dict[str, Any] = {"value": result.value}
    if result.value is None:
        entry["reason"] = "no class of the label maps or predictions counts"
    else:
        entry |= {
            "standard_error": _jackknife(per_image, partial(mean_iou, absent=absent, background=background)),
            "pixel_accuracy": 100.0 * int(confusion.diagonal().sum()) / int(confusion.sum()),
        }
    entry["per_class"] = dict(zip(segmenter.classes, result.per_class, strict=True))
    common = 2 * (per_image.sum(2) > 0).sum(0) >= len(per_image)
    over_common = partial(mean_iou, absent=absent, background=background, among=common)
    entry["common"] = {
        "value": over_common(confusion).value,
        "standard_error": _jackknife(per_image, over_common),
        "classes": [name for name, often in zip(segmenter.classes, common.tolist(), strict=True) if often],
    }
    if same:
        fewer, _ = merged(confusion, segmenter.classes, same)
        entry["merged_value"] = mean_iou(fewer, absent=absent, background=background).value
    return entry | {
        "n_generated": len(images),
        "segmenter": segmenter.name,
        "segmenter_sha256": segmenter.sha256,
        "resolution": resolution,
        "background": background,
        "absent": absent,
    }


def at_size(labels: Tensor, size: int) -> Tensor:
    """Return label maps (B, H, W) at size x size: the label under each pixel's centre."""
    if labels.shape[1:] == (size, size):
        return labels
    resized = functional.interpolate(labels[:, None].float(), size=(size, size), mode="nearest-exact")
    return resized[:, 0].to(labels.dtype)


def _jackknife(per_image: Tensor, mean: Callable[[Tensor], MeanIoU]) -> float | None:
    """Return the delete-one standard error of a mean IoU; None for one image or where a class would vanish."""
    count, total = len(per_image), per_image.sum(0)
    left_out = [mean(total - one).value for one in per_image]
    values = [value for value in left_out if value is not None]
    if count < 2 or len(values) < count:
        return None
    average = math.fsum(values) / count
    return math.sqrt((count - 1) / count * math.fsum((value - average) ** 2 for value in values))
