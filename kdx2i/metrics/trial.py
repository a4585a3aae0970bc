"""What the function of a metric is given: one generated set against the real images, and what several metrics share."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.classifiers.classifier import Classifier, train_classifier
from kdx2i.metrics.distances.classwise import Classwise, classwise_distances
from kdx2i.metrics.distances.estimates import Estimate
from kdx2i.metrics.distances.frechet_error import frechet_estimate
from kdx2i.metrics.distances.kernel import KernelEstimate, kernel_estimate
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.entries import Entry, missing
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.perceptual.trunks import PerceptualNetwork, build_perceptual
from kdx2i.metrics.segmentation.mean_iou import Segmenter
from kdx2i.metrics.settings import EvaluationSettings, RealPart
from kdx2i.metrics.threads import single_thread


class Matcher(Protocol):
    """An encoder of conditions with its image encoder."""

    def agreement(self, images: Tensor, condition: Any) -> Tensor:
        """Return the cosines float32 [N, M], on the CPU, of images [N, 3, R, R] in [-1, 1] and M conditions."""


class RealSide:
    """One real set, embedded once, and what metrics ask of it beside its images.

    `classes` are the class names, in the order of the labels. `is_test` bool (N,) marks the real test images; None
    where no roles are known: then every role is all images. The real classifier may be given (`real_classifier`,
    trained once per dataset and resolution) and is trained here otherwise; `segmenter` and `matcher`, the encoder of
    the dataset's conditions, are loaded when they are asked for.
    """

    def __init__(
        self,
        real: EmbeddedSet,
        classes: Sequence[str],
        settings: EvaluationSettings,
        extractor: Extractor,
        *,
        is_test: Tensor | None = None,
        real_classifier: Classifier | None = None,
        segmenter: Callable[[], Segmenter] | None = None,
        matcher: Callable[[], Matcher] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if real_classifier is not None and real_classifier.classes != len(classes):
            raise UserError(
                f"the real classifier knows {real_classifier.classes} classes, the dataset has {len(classes)}"
            )
        self.real, self.is_test = real, is_test
        self.classes = list(classes)
        self.settings, self.extractor = settings, extractor
        self.segmenter, self.matcher = segmenter, matcher
        self.device = torch.device(device)
        self.given_classifier = real_classifier

    def part(self, part: RealPart) -> EmbeddedSet:
        """Return the embedded real images of a role, or all."""
        if self.is_test is None or part == "all":
            return self.real
        return self.real.where(self.is_test if part == "test" else ~self.is_test)

    @cached_property
    def pooled_real(self) -> EmbeddedSet:
        """The real images of the metrics over all classes at once."""
        return self.part(self.settings.pooled_real_set)

    def against(self, real: EmbeddedSet, classes: Sequence[str] | None = None) -> Self:
        """Return the same for another real set whose images have every role, of `classes` (default: the same)."""
        side = self._copy()
        side.real, side.is_test, side.given_classifier = real, None, None
        side.classes = list(classes or self.classes)
        return side

    def directed(self, target: int) -> Self:
        """Return the same for translations to one class: the pooled real images of that class only."""
        real = self.pooled_real
        return self.against(real.where(real.labels == target), [self.classes[target]])

    def with_real_set(self, part: RealPart) -> Self:
        """Return the same with distances, pooled and class-wise, to the real images of a role."""
        side = self._copy()
        side.settings = self.settings.model_copy(update={"real_set": part, "pooled_real_set": part})
        return side

    def _copy(self) -> Self:
        """Return a copy without what was computed from the real images."""
        side = copy.copy(self)
        for name in ("pooled_real", "real_classifier"):
            vars(side).pop(name, None)
        return side

    def train(self, images: EmbeddedSet) -> Classifier:
        """Return the classifier of the settings trained on embedded images."""
        settings = self.settings
        return train_classifier(
            images.pixels() if settings.classifier.reads_images else None,
            images.labels,
            len(self.classes),
            settings.classifier,
            settings.seed,
            extractor=self.extractor,
            features=images.feature_tensor(),
            device=self.device,
        )

    @cached_property
    def real_classifier(self) -> Classifier:
        """The classifier trained on real training images: the one that was given, or trained once here."""
        return self.given_classifier or self.train(self.part("train"))

    @cached_property
    def perceptual(self) -> PerceptualNetwork:
        """The network of LPIPS that the settings name."""
        diversity = self.settings.diversity
        assert diversity is not None
        return build_perceptual(diversity.network, normalisation=diversity.normalisation, device=self.device)

    def describe(self) -> dict[str, Any]:
        """Return what metrics.json records of the evaluation beside its values."""
        return {
            **self.extractor.describe(),
            "real_set": self.settings.real_set,
            "pooled_real_set": self.settings.pooled_real_set,
            "classifier": self.settings.classifier.model_dump(),
        }


class Distances:
    """The distances between a generated and the real sets that several metrics read, each computed once."""

    def __init__(self, generated: EmbeddedSet, real: RealSide, by_class: Classwise | None = None) -> None:
        self._generated, self._real, self._by_class = generated, real, by_class

    @cached_property
    def by_class(self) -> Classwise:
        """The Frechet and kernel distance of each class to the real images of `real_set`."""
        if self._by_class is not None:
            return self._by_class
        images = self._real.part(self._real.settings.real_set)
        return distances_by_class(self._generated, images, len(self._real.classes))

    @cached_property
    def frechet(self) -> Estimate:
        """The Frechet distance to the pooled real images."""
        with single_thread():
            return frechet_estimate(self._generated.features, self._real.pooled_real.features)

    @cached_property
    def kernel(self) -> KernelEstimate:
        """The kernel distance (not times 100) to the pooled real images."""
        with single_thread():
            return kernel_estimate(self._generated.features, self._real.pooled_real.features)


def distances_by_class(generated: EmbeddedSet, real: EmbeddedSet, classes: int, *, errors: bool = True) -> Classwise:
    """Return the Frechet and kernel distance of each class, from one Gram matrix a class; None where images lack."""
    if min(len(generated), len(real)) < 2:
        nothing: list[float | None] = [None] * classes
        return Classwise(nothing, nothing, nothing, nothing, generated.counts(classes), real.counts(classes))
    pair = (generated.features, generated.labels, real.features, real.labels)
    return classwise_distances(*pair, classes, errors=errors)


@dataclass(frozen=True)
class Trial:
    """One generated set against the real images: what the function of a metric is given.

    `choices` are the alternatives of the registered protocols that a metric may ask for by dimension: `fid` the matrix
    root of the Frechet distance, `kid` the estimator of the kernel distance, `is` the convention of the Inception
    Score.
    """

    real: RealSide
    generated: EmbeddedSet
    distances: Distances
    choices: Mapping[str, str]

    def under(self, choices: Mapping[str, str]) -> "Trial":
        """Return the trial under other choices; the distances that are known stay known."""
        return Trial(self.real, self.generated, self.distances, {**self.choices, **choices})

    def missing(self, reason: str, *, n_real: int | None = None) -> Entry:
        """Return the entry of a metric that could not be computed; `n_real` defaults to the pooled real images."""
        count = len(self.real.pooled_real) if n_real is None else n_real
        return missing(reason, count, len(self.generated), len(self.real.classes))
