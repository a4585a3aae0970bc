"""Stage `classifier`: real training images -> the real classifier of RC, once per dataset and resolution."""

from kdx2i.data.rows import Split
from kdx2i.metrics.classifiers.classifier import save_classifier
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import ClassifierSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.leaf_scorer import scorer_of
from kdx2i.tasks.scoring.base import open_scoring
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device


def run(plan: Plan, leaf: Leaf[ClassifierSpec]) -> None:
    """Train the classifier of `leaf` on the real training images."""
    spec = leaf.spec
    make_deterministic()
    device = pick_device()
    settings = EvaluationSettings.model_validate(spec.evaluation)
    scoring = open_scoring(spec.task, Split(leaf.inputs["split"].folder), spec.resolution)
    scorer = scorer_of(plan, leaf, scoring, settings, device)
    save_classifier(leaf.file("classifier.safetensors"), scorer.real_classifier)
    write_provenance(plan, leaf, device=describe_device(device), extractor_sha256=scorer.extractor.weights_sha256)
