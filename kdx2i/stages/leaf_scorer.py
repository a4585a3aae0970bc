"""What the scoring stages share: the scorer of a leaf, with the networks that it reads from other leaves."""

from functools import partial
from typing import Any

import torch

from kdx2i.metrics.classifiers.classifier import load_classifier
from kdx2i.metrics.runs import run_scorer
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.segmentation.segmenter import load_segmenter
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.tasks.scoring.base import Scoring


def scorer_of(
    plan: Plan, leaf: Leaf[Any], scoring: Scoring, settings: EvaluationSettings, device: torch.device
) -> Scorer:
    """Return the scorer of a leaf; features of real images are shared through a cache by content.

    The classifier of RC and the segmenter of mIoU are those that the leaf reads, where it reads some.
    """
    trained = leaf.inputs.get("classifier")
    segmenter = leaf.inputs.get("segmenter")
    place = None if segmenter is None else segmenter.file("segmenter.safetensors")
    shipped = plan.root / "benchmarks" / "features" / f"{settings.extractor}.safetensors"
    return run_scorer(
        scoring.real,
        scoring.task.classes,
        settings,
        weights_path=shipped if settings.extractor in plan.feature_networks else None,
        real_classifier=None if trained is None else load_classifier(trained.file("classifier.safetensors")),
        segmenter=None if place is None else partial(load_segmenter, place, device),
        cache_dir=plan.root / plan.results / ".work" / "features",
        device=device,
    )
