"""The evaluation of generated images: mFID, mKID x 100, FID, KID x 100, RC and FC, and IS where it is asked for.

Each image is embedded once; the distances and the linear-probe classifier share its features.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.classifiers.classifier import Classifier, train_classifier
from kdx2i.metrics.entries import (
    Embedded,
    accuracy_entry,
    class_distances,
    classwise_entries,
    infinity_entry,
    missing,
    pooled_entries,
)
from kdx2i.metrics.extractors.extractor import Extractor, extractor_from_settings
from kdx2i.metrics.images.embedding import embed
from kdx2i.metrics.images.streams import TensorImages
from kdx2i.metrics.inception_score import score_entry
from kdx2i.metrics.settings import EvaluationSettings, RealPart


@dataclass(frozen=True)
class RealImages:
    """The real images of a split: uint8 (N, 3, H, W), class indices int64 (N,), bool (N,) for test images."""

    images: Tensor
    labels: Tensor
    is_test: Tensor

    @classmethod
    def from_parts(cls, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> "RealImages":
        """Return the set made of (images, labels) of the training and of the test role."""
        is_test = torch.arange(len(train[0]) + len(test[0])) >= len(train[0])
        return cls(torch.cat([train[0], test[0]]), torch.cat([train[1], test[1]]), is_test)

    def mask(self, part: RealPart) -> Tensor:
        """Return the bool (N,) mask of the images of a role, or of all."""
        if part == "all":
            return torch.ones_like(self.is_test)
        return self.is_test if part == "test" else ~self.is_test


def check_images(images: Tensor, labels: Tensor, classes: int, what: str) -> None:
    """Raise `UserError` unless images are uint8 (N, 3, H, W) with labels int64 (N,) in 0 .. classes - 1."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        shape = tuple(images.shape)
        raise UserError(f"the {what} images must be uint8 (N, 3, H, W), got {images.dtype} {shape}")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise UserError(f"the {what} images need one int64 label each, got {labels.dtype} {tuple(labels.shape)}")
    if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise UserError(f"a label of the {what} images lies outside the {classes} classes")


class Evaluator:
    """One real set, embedded once, and everything that scores generated images against it.

    `classes` are the class names, in the order of the labels. The real classifier may be given
    (`real_classifier`, trained once per dataset and resolution) and is trained here otherwise. `cache_dir`
    keeps the features of real images, keyed by their content and the extractor's hash.
    """

    def __init__(
        self,
        real: RealImages,
        classes: Sequence[str],
        settings: EvaluationSettings,
        *,
        extractor: Extractor | None = None,
        weights_path: str | os.PathLike[str] | None = None,
        real_classifier: Classifier | None = None,
        cache_dir: Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        check_images(real.images, real.labels, len(classes), "real")
        if real_classifier is not None and real_classifier.classes != len(classes):
            raise UserError(
                f"the real classifier knows {real_classifier.classes} classes, the dataset has {len(classes)}"
            )
        self.classes = list(classes)
        self.settings = settings
        self.device = torch.device(device)
        self.extractor = extractor or extractor_from_settings(settings, weights_path=weights_path, device=device)
        self.roles = real
        self.real = self._embedded(real.images, real.labels, cache_dir)
        self._given = real_classifier

    def _embedded(self, images: Tensor, labels: Tensor, cache_dir: Path | None) -> Embedded:
        """Return images with their features, and their logits where the settings ask for the Inception Score."""
        logits = self.settings.inception_score is not None
        (found,) = embed(TensorImages(images, labels), [self.extractor], logits=logits, folder=cache_dir)
        rows = slice(0, len(images))
        return Embedded(images, labels, found.features[rows], None if found.logits is None else found.logits[rows])

    def part(self, part: RealPart) -> Embedded:
        """Return the embedded real images of a role, or all."""
        return self.real.where(self.roles.mask(part))

    def embed(self, images: Tensor, labels: Tensor) -> Embedded:
        """Return generated images with their features; `UserError` for wrong shape, type, label or size."""
        check_images(images, labels, len(self.classes), "generated")
        if images.shape[2:] != self.real.images.shape[2:] and len(images):
            mine, theirs = tuple(images.shape[2:]), tuple(self.real.images.shape[2:])
            raise UserError(f"generated images have {mine} pixels, the real ones {theirs}: make them equal")
        return self._embedded(images.cpu(), labels.cpu(), None)

    def train(self, on: Embedded) -> Classifier:
        """Return the classifier of the settings trained on embedded images."""
        settings = self.settings
        return train_classifier(
            on.images,
            on.labels,
            len(self.classes),
            settings.classifier,
            settings.seed,
            extractor=self.extractor,
            features=on.features,
            device=self.device,
        )

    @cached_property
    def real_classifier(self) -> Classifier:
        """The classifier trained on real training images: the one that was given, or trained once here."""
        return self._given or self.train(self.part("train"))

    def _untrainable(self, on: Embedded, what: str) -> str | None:
        """Return why no classifier can be trained on these images, or None."""
        absent = [name for name, count in zip(self.classes, on.counts(len(self.classes)), strict=True) if not count]
        return f"no {what} image of class {absent[0]} ({len(absent)} such classes)" if absent else None

    def real_accuracy(self, tested: Embedded) -> dict[str, Any]:
        """Return the entry RC: trained on real training images, tested on `tested` with its labels."""
        train = self.part("train")
        reason = None if self._given else self._untrainable(train, "real training")
        reason = reason or (None if len(tested) else "no image to test the real classifier on")
        if reason:
            return missing(reason, len(train), len(tested), len(self.classes))
        entry = accuracy_entry(self.real_classifier, tested, self.classes, self.extractor)
        trained = self.real_classifier.samples
        counts = {"n_real": trained, "n_generated": len(tested), "n_train": trained, "n_test": len(tested)}
        return {**entry, **counts}

    def fake_accuracy(self, generated: Embedded) -> dict[str, Any]:
        """Return the entry FC: trained on `generated`, tested on the real test images."""
        test = self.part("test")
        reason = self._untrainable(generated, "generated") or (None if len(test) else "no real test image")
        if reason:
            return missing(reason, len(test), len(generated), len(self.classes))
        entry = accuracy_entry(self.train(generated), test, self.classes, self.extractor)
        made = len(generated)
        counts = {"n_real": len(test), "n_generated": made, "n_train": made, "n_test": len(test)}
        return {**entry, **counts}

    def values(self, generated: Embedded, *, accuracies: bool = True) -> dict[str, Any]:
        """Return the entries of `METRICS` of embedded generated images, and those of `pooled` that are asked for.

        Without `accuracies` no classifier is trained, and RC and FC are not among them.
        """
        count, settings = len(self.classes), self.settings
        pooled = self.part(settings.pooled_real_set)
        found = {
            **classwise_entries(class_distances(generated, self.part(settings.real_set), count), self.classes),
            **self.pooled(generated, pooled),
        }
        if accuracies:
            found |= {"RC": self.real_accuracy(generated), "FC": self.fake_accuracy(generated)}
        return found

    def directed_values(self, generated: Embedded, target: int) -> dict[str, Any]:
        """Return the entries of `pooled` of translations to one class, against the real images of that class."""
        real = self.part(self.settings.pooled_real_set)
        return self.pooled(generated, real.where(real.labels == target), 1)

    def pooled(self, generated: Embedded, real: Embedded, classes: int | None = None) -> dict[str, Any]:
        """Return FID and KIDx100 of two sets over `classes` (default: all), and FIDinf and IS where asked for."""
        settings, count = self.settings, classes or len(self.classes)
        found = pooled_entries(generated, real, count)
        if settings.infinity:
            found["FIDinf"] = infinity_entry(generated, real, count, settings.seed)
        if settings.inception_score is None:
            return found
        if generated.logits is None:
            absent = missing(f"{self.extractor.name} has no logits", 0, len(generated), count)
            return {**found, "IS": absent}
        return {**found, "IS": score_entry(generated.logits, settings.inception_score, self.extractor.name)}

    def describe(self) -> dict[str, Any]:
        """Return what metrics.json records of the evaluation beside its values."""
        return {
            **self.extractor.describe(),
            "real_set": self.settings.real_set,
            "pooled_real_set": self.settings.pooled_real_set,
            "classifier": self.settings.classifier.model_dump(),
        }


def evaluate_classwise(
    generated: Tensor,
    generated_labels: Tensor,
    real: Tensor,
    real_labels: Tensor,
    *,
    real_is_test: Tensor,
    classes: Sequence[str],
    settings: EvaluationSettings,
    extractor: Extractor | None = None,
    weights_path: str | os.PathLike[str] | None = None,
    real_classifier: Classifier | None = None,
    cache_dir: Path | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Return {metric: {"value", "n_real", "n_generated", ...}} of generated images against real ones.

    Images are uint8 (N, 3, H, W) of one size, labels int64 (N,) indices into `classes` (for generated images:
    the target class), `real_is_test` bool (N,). mFID and mKIDx100 use the real images of `settings.real_set`,
    FID and KIDx100 those of `settings.pooled_real_set`; RC trains on real training images, FC tests on real test
    images. A metric without enough images has value None and a reason. `UserError` for wrong input.
    """
    evaluator = Evaluator(
        RealImages(real, real_labels, real_is_test),
        classes,
        settings,
        extractor=extractor,
        weights_path=weights_path,
        real_classifier=real_classifier,
        cache_dir=cache_dir,
        device=device,
    )
    return evaluator.values(evaluator.embed(generated, generated_labels))
