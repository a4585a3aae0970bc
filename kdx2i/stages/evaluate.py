"""Stage `evaluate`: a run asked in one mode -> its metrics and a sample grid."""

from typing import Any

import torch
from torch import Tensor

from kdx2i.data.rows import Split
from kdx2i.files import write_json
from kdx2i.methods.build import build_method
from kdx2i.metric_catalogue import METRICS, Need, main_distance
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.runs import embed_generated
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.metrics.trial import distances_by_class
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import EvaluationSpec, RunSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.leaf_scorer import scorer_of
from kdx2i.stages.train import encoder_file, initial_method
from kdx2i.tasks.scoring.base import Requests, Scoring, generate, open_scoring
from kdx2i.training.checkpoint import load_module, load_tensors, select
from kdx2i.training.determinism import derive_seed, describe_device, make_deterministic, pick_device
from kdx2i.training.loop import save_grid
from kdx2i.training.precision import to_images
from kdx2i.training.starts import weights_follow

GRID_COLUMNS = 16
GRID_BLOCKS = 3


def run(plan: Plan, leaf: Leaf[EvaluationSpec]) -> None:
    """Generate the images that the protocol asks for and score them, beside those of the untrained method."""
    spec = leaf.spec
    make_deterministic()
    device = pick_device()
    settings = EvaluationSettings.model_validate(spec.evaluation)
    scoring = open_scoring(spec.task, Split(leaf.inputs["split"].folder), spec.resolution)
    scorer = scorer_of(plan, leaf, scoring, settings, device)
    requests = scoring.requests(spec, settings)
    method = load_method(leaf.inputs["run"], len(scoring.task.classes), device)

    def answer(asked: Requests) -> Tensor:
        return generate(method, asked, settings.batch, device)

    torch.manual_seed(derive_seed(spec.seed, "evaluate", spec.mode))
    images = answer(requests)
    generated = scoring.completed(embed_generated(scorer, images, requests.labels), requests, answer, settings)
    document = {
        "values": scoring.scorer(scorer, spec, requests).score(generated, spec.metrics),
        "untrained": untrained_entries(plan, leaf, scoring, scorer, requests, device),
        **scorer.describe(),
        "mode": spec.mode,
        "direction": spec.direction,
        "identity": leaf.identity,
    }
    write_json(leaf.file("metrics.json"), document)
    _save_samples(leaf, requests, images, device)
    write_provenance(plan, leaf, device=describe_device(device), extractor_sha256=scorer.extractor.weights_sha256)


def untrained_entries(
    plan: Plan, leaf: Leaf[EvaluationSpec], scoring: Scoring, scorer: Scorer, requests: Requests, device: torch.device
) -> dict[str, Entry]:
    """Return the main distance, {metric: entry}, of the run's method before its first update, for the same requests.

    The noise is that of the trained method's images. Empty where the evaluation has no such distance.
    """
    spec, settings = leaf.spec, scorer.settings
    metric = main_distance(spec.metrics, settings.learned_by)
    if metric is None:
        return {}
    method = initial_method(plan, leaf.inputs["run"], scoring.task, device)
    torch.manual_seed(derive_seed(spec.seed, "evaluate", spec.mode))
    images = generate(method, requests, settings.batch, device)
    embedded = embed_generated(scorer, images, requests.labels)
    real = scoring.scorer(scorer, spec, requests)
    by_class = None
    if Need.TWO_IMAGES_A_CLASS in METRICS[metric].needs:
        # The verdict needs no errors, which cost more than the distances.
        by_class = distances_by_class(embedded, real.part(settings.real_set), len(real.classes), errors=False)
    return {metric: real.entry(real.trial(embedded, by_class), metric)}


def load_method(run: Leaf[RunSpec], num_classes: int, device: torch.device) -> Any:
    """Return a run's method with its averaged networks."""
    spec = run.spec
    settings = {"networks": spec.networks}
    encoders = encoder_file(run)
    with weights_follow():
        method = build_method(spec.architecture, settings, spec.resolution, num_classes, device, encoders=encoders)
    path = run.file("networks.safetensors")
    tensors, _ = load_tensors(path)
    for name, module in method.averages.items():
        load_module(module, select(tensors, name), path)
    return method


def _save_samples(leaf: Leaf[EvaluationSpec], requests: Requests, generated: Tensor, device: torch.device) -> None:
    """Write a grid of blocks of rows: what was given, then the outputs, spread over all requests."""
    chosen = torch.linspace(0, len(generated) - 1, GRID_BLOCKS * GRID_COLUMNS).long()
    rows = []
    for block in torch.split(chosen, GRID_COLUMNS):
        rows += [*requests.pictures(block), generated[block]]
    save_grid(leaf.file("samples.png"), to_images(torch.cat(rows), device), GRID_COLUMNS)
