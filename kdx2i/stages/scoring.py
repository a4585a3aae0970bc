"""What the three scoring stages share: the real images of a split and the evaluation's settings."""

from collections.abc import Sequence
from typing import Any

import torch

from kdx2i.data.images import Split, load_images
from kdx2i.errors import UserError
from kdx2i.metrics.classifiers.classifier import Classifier, load_classifier
from kdx2i.metrics.scorer import Evaluator, RealImages
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan


def real_images(leaf: Leaf[Any], resolution: int) -> tuple[Split, RealImages]:
    """Return the split that a leaf reads and its images at a resolution."""
    split = Split(leaf.inputs["split"].folder)
    train, test = load_images(split, "train", resolution), load_images(split, "test", resolution)
    return split, RealImages.from_parts(train, test)


def real_classifier(leaf: Leaf[Any]) -> Classifier | None:
    """Return the classifier of RC that a leaf reads, or None where no table asks for accuracies."""
    made = leaf.inputs.get("classifier")
    return None if made is None else load_classifier(made.file("classifier.safetensors"))


def class_indices(classes: Sequence[str], names: Sequence[str], dataset: str) -> list[int]:
    """Return the labels of class names; `UserError` for a class that the dataset does not have."""
    for name in names:
        if name not in classes:
            known = ", ".join(classes)
            raise UserError(f"{dataset} has no class `{name}` to translate from or to; its classes are {known}")
    return [classes.index(name) for name in names]


def evaluator(
    plan: Plan, leaf: Leaf[Any], settings: EvaluationSettings, classifier: Classifier | None, device: torch.device
) -> Evaluator:
    """Return the evaluator of a leaf; features of real images are shared through a cache by content."""
    split, real = real_images(leaf, leaf.spec.resolution)
    return Evaluator(
        real,
        split.classes,
        settings,
        real_classifier=classifier,
        cache_dir=plan.root / plan.results / ".work" / "features",
        device=device,
    )
