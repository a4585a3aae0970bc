"""Scorers of runs: real images of a split and generated images, in memory or mapped from files."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.classifiers.classifier import Classifier
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.extractors.extractor import Extractor, extractor_from_settings
from kdx2i.metrics.images.embedding import embed
from kdx2i.metrics.images.real_images import RealImages, check_images
from kdx2i.metrics.images.streams import TensorImages
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.segmentation.mean_iou import Segmenter
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.metrics.trial import Matcher


def run_scorer(
    real: RealImages,
    classes: Sequence[str],
    settings: EvaluationSettings,
    *,
    extractor: Extractor | None = None,
    weights_path: str | os.PathLike[str] | None = None,
    real_classifier: Classifier | None = None,
    segmenter: Callable[[], Segmenter] | None = None,
    matcher: Callable[[], Matcher] | None = None,
    cache_dir: Path | None = None,
    device: str | torch.device = "cpu",
) -> Scorer:
    """Return the scorer of a split's real images, which are embedded here; `extractor` replaces that of the settings.

    `classes` are the class names, in the order of the labels. `cache_dir` keeps the features of the real images,
    keyed by their pixels and the extractor's hash. `UserError` for wrong images and missing weights.
    """
    check_images(real.images, real.labels, len(classes), "real")
    chosen = extractor or extractor_from_settings(settings, weights_path=weights_path, device=device)
    embedded = _embedded(chosen, settings, real.images, real.labels, cache_dir)
    return Scorer(
        embedded,
        classes,
        settings,
        chosen,
        is_test=real.is_test,
        real_classifier=real_classifier,
        segmenter=segmenter,
        matcher=matcher,
        device=device,
    )


def embed_generated(scorer: Scorer, images: Tensor, labels: Tensor) -> EmbeddedSet:
    """Return generated images uint8 (N, 3, H, W) with labels int64 (N,) and their features.

    `UserError` for wrong shape, type or label, and for another size than the real images'.
    """
    check_images(images, labels, len(scorer.classes), "generated")
    sides, real_sides = tuple(images.shape[2:]), image_shape(scorer)[1:]
    if sides != real_sides and len(images):
        raise UserError(f"generated images have {sides} pixels, the real ones {real_sides}: make them equal")
    return _embedded(scorer.extractor, scorer.settings, images.cpu(), labels.cpu(), None)


def image_shape(scorer: Scorer) -> tuple[int, ...]:
    """Return the shape (3, H, W) of the real images of a run's scorer."""
    assert isinstance(scorer.real.images, TensorImages)
    return tuple(scorer.real.images.images.shape[1:])


def _embedded(
    extractor: Extractor, settings: EvaluationSettings, images: Tensor, labels: Tensor, cache_dir: Path | None
) -> EmbeddedSet:
    """Return images with their features, and their logits where the settings ask for the Inception Score."""
    logits = settings.inception_score is not None
    stream = TensorImages(images, labels)
    (embedding,) = embed(stream, [extractor], logits=logits, folder=cache_dir)
    return EmbeddedSet.of(stream, labels, embedding).in_memory()
