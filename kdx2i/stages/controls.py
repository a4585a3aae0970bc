"""Stage `controls`: real images -> the control rows of a dataset (floor and ceiling of every metric)."""

from kdx2i.data.rows import Split
from kdx2i.files import write_json
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import ControlsSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.leaf_scorer import scorer_of
from kdx2i.tasks.scoring.base import open_scoring
from kdx2i.training.determinism import describe_device, make_deterministic, pick_device


def run(plan: Plan, leaf: Leaf[ControlsSpec]) -> None:
    """Score the task's control images, such as real ones, copied inputs and noise, in the place of generated ones."""
    spec = leaf.spec
    make_deterministic()
    device = pick_device()
    settings = EvaluationSettings.model_validate(spec.evaluation)
    scoring = open_scoring(spec.task, Split(leaf.inputs["split"].folder), spec.resolution)
    scorer = scorer_of(plan, leaf, scoring, settings, device)
    document = {**scoring.controls(scorer, spec), **scorer.describe(), "identity": leaf.identity}
    write_json(leaf.file("metrics.json"), document)
    write_provenance(plan, leaf, device=describe_device(device), extractor_sha256=scorer.extractor.weights_sha256)
