"""Stage `controls`: real images -> the control rows of a dataset (floor and ceiling of every metric)."""

from kdx2i.files import write_json
from kdx2i.metrics.controls import control_values, directed_controls
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import ControlsSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.scoring import class_indices, real_classifier, scorer_of
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device


def run(plan: Plan, leaf: Leaf[ControlsSpec]) -> None:
    """Score real images, copied inputs and noise in the place of generated images."""
    spec = leaf.spec
    make_deterministic()
    device = pick_device()
    settings = EvaluationSettings.model_validate(spec.evaluation)
    scorer, _ = scorer_of(plan, leaf, settings, real_classifier(leaf), device)
    directed = list(spec.directed_metrics)
    directions = {
        name: directed_controls(scorer, directed, *class_indices(scorer.classes, pair, spec.dataset))
        for name, pair in spec.directions.items()
    }
    document = {
        "values": control_values(scorer, list(spec.metrics)),
        "directions": directions,
        **scorer.describe(),
        "identity": leaf.identity,
    }
    write_json(leaf.file("metrics.json"), document)
    write_provenance(plan, leaf, device=describe_device(device), extractor_sha256=scorer.extractor.weights_sha256)
