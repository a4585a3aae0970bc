"""What the scoring stages share: the real images of a split and their scorer."""

from collections.abc import Sequence
from typing import Any

import torch

from kdx2i.data.images import Split, load_images
from kdx2i.errors import UserError
from kdx2i.metrics.classifiers.classifier import Classifier, load_classifier
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.runs import run_scorer
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan


def real_images(leaf: Leaf[Any], resolution: int) -> tuple[Split, RealImages]:
    """Return the split that a leaf reads and its images at a resolution."""
    split = Split(leaf.inputs["split"].folder)
    train, test = load_images(split, "train", resolution), load_images(split, "test", resolution)
    return split, RealImages.from_parts(train, test)


def real_classifier(leaf: Leaf[Any]) -> Classifier | None:
    """Return the classifier of RC that a leaf reads, or None where no metric needs one."""
    classifier = leaf.inputs.get("classifier")
    return None if classifier is None else load_classifier(classifier.file("classifier.safetensors"))


def class_indices(classes: Sequence[str], names: Sequence[str], dataset: str) -> list[int]:
    """Return the labels of class names; `UserError` for a class that the dataset does not have."""
    for name in names:
        if name not in classes:
            known = ", ".join(classes)
            raise UserError(f"{dataset} has no class `{name}` to translate from or to; its classes are {known}")
    return [classes.index(name) for name in names]


def scorer_of(
    plan: Plan, leaf: Leaf[Any], settings: EvaluationSettings, classifier: Classifier | None, device: torch.device
) -> tuple[Scorer, RealImages]:
    """Return the scorer of a leaf and its real images; their features are shared through a cache by content."""
    split, real = real_images(leaf, leaf.spec.resolution)
    scorer = run_scorer(
        real,
        split.classes,
        settings,
        real_classifier=classifier,
        cache_dir=plan.root / plan.results / ".work" / "features",
        device=device,
    )
    return scorer, real
