"""What the scoring stages share: the scorer of a leaf, with the networks that it reads from other leaves."""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import torch

from kdx2i.metrics.classifiers.classifier import load_classifier
from kdx2i.metrics.runs import run_scorer
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.segmentation.segmenter import load_segmenter
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.metrics.trial import Matcher
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.scoring_plans import ENCODER_MODULE
from kdx2i.tasks.scoring.base import Scoring


def scorer_of(
    plan: Plan, leaf: Leaf[Any], scoring: Scoring, settings: EvaluationSettings, device: torch.device
) -> Scorer:
    """Return the scorer of a leaf; features of real images are shared through a cache by content.

    The classifier of RC, the segmenter of mIoU and the encoder of R-precision are those that the leaf reads, where it
    reads some.
    """
    trained = leaf.inputs.get("classifier")
    segmenter = leaf.inputs.get("segmenter")
    place = None if segmenter is None else segmenter.file("segmenter.safetensors")
    encoder = getattr(leaf.spec, "encoder_file", None)
    shipped = plan.root / "benchmarks" / "features" / f"{settings.extractor}.safetensors"
    return run_scorer(
        scoring.real,
        scoring.task.classes,
        settings,
        weights_path=shipped if settings.extractor in plan.feature_networks else None,
        real_classifier=None if trained is None else load_classifier(trained.file("classifier.safetensors"), device),
        segmenter=None if place is None else partial(load_segmenter, place, device),
        matcher=None if encoder is None else partial(_matcher, leaf, plan.root / encoder, device),
        cache_dir=plan.root / plan.results / ".work" / "features",
        device=device,
    )


def _matcher(leaf: Leaf[Any], path: Path, device: torch.device) -> Matcher:
    """Return the encoder of a file; its image network is read from where the recipe that trained it says."""
    recipe = leaf.inputs["encoder"].spec.config if "encoder" in leaf.inputs else {}
    # By name: only what R-precision is computed of depends on the code of encoders.
    opened: Matcher = importlib.import_module(ENCODER_MODULE).load_matcher(
        path, device, image_weights=recipe.get("image_weights")
    )
    return opened
