"""Stage `evaluate`: a run asked in one mode -> its metrics and a sample grid."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdx2i.files import write_json
from kdx2i.methods.build import build_method
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.runs import embed_generated
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.metrics.sources import Requests, draw_directed, draw_repeats, draw_requests
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import EvaluationSpec, RunSpec
from kdx2i.provenance import write_provenance
from kdx2i.stages.scoring import class_indices, real_classifier, scorer_of
from kdx2i.training.checkpoint import load_module, load_tensors, select
from kdx2i.training.determinism import derive_seed, describe_device, make_deterministic, pick_device
from kdx2i.training.loop import save_grid
from kdx2i.training.precision import to_images, to_pixels

GRID_COLUMNS = 16


def run(plan: Plan, leaf: Leaf[EvaluationSpec]) -> None:
    """Generate the images that the protocol asks for and score them."""
    spec = leaf.spec
    make_deterministic()
    device = pick_device()
    settings = EvaluationSettings.model_validate(spec.evaluation)
    scorer, real = scorer_of(plan, leaf, settings, real_classifier(leaf), device)
    requests = requests_of(leaf, real, scorer.classes, settings)
    method = load_method(leaf.inputs["run"], len(scorer.classes), device)
    torch.manual_seed(derive_seed(spec.seed, "evaluate", spec.mode))
    images = translate(method, real, requests, spec.guidance, settings.batch, device)
    generated = embed_generated(scorer, images, requests.targets)
    if spec.direction is not None:
        values = scorer.directed(int(requests.targets[0])).score(generated, spec.metrics)
    else:
        outputs = _outputs(method, real, len(scorer.classes), spec.guidance, settings, device)
        values = scorer.score(replace(generated, outputs=outputs), spec.metrics)
    document = {
        "values": values,
        **scorer.describe(),
        "mode": spec.mode,
        "direction": spec.direction,
        "identity": leaf.identity,
    }
    write_json(leaf.file("metrics.json"), document)
    _save_samples(leaf, real, requests, images, device)
    write_provenance(plan, leaf, device=describe_device(device), extractor_sha256=scorer.extractor.weights_sha256)


def requests_of(
    leaf: Leaf[EvaluationSpec], real: RealImages, classes: Sequence[str], settings: EvaluationSettings
) -> Requests:
    """Return what an evaluation asks of its run: images of every class, or of its one direction."""
    spec = leaf.spec
    if spec.direction is None:
        return draw_requests(real.labels, real.is_test, len(classes), settings.images_per_class, settings.seed)
    source, target = class_indices(classes, spec.direction, spec.dataset)
    return draw_directed(real.labels, real.is_test, source, target, settings.images_per_direction, settings.seed)


def load_method(run: Leaf[RunSpec], num_classes: int, device: torch.device) -> Any:
    """Return a run's method with its averaged networks."""
    spec = run.spec
    settings = {"networks": spec.networks}
    method = build_method(spec.architecture, settings, spec.resolution, num_classes, device)
    path = run.file("networks.safetensors")
    tensors, _ = load_tensors(path)
    for name, module in method.averages.items():
        load_module(module, select(tensors, name), path)
    return method


def translate(method: Any, real: RealImages, requests: Requests, mode: str, batch: int, device: torch.device) -> Tensor:
    """Return the translations of all requests as uint8 [N, 3, R, R]."""
    translations = []
    for start in range(0, len(requests.targets), batch):
        part = slice(start, start + batch)
        x = to_images(real.images[requests.sources[part]], device)
        references = to_images(real.images[requests.references[part]], device)
        translations.append(to_pixels(method.translate(x, requests.targets[part], mode, references)))
    return torch.cat(translations)


def _outputs(
    method: Any, real: RealImages, num_classes: int, mode: str, settings: EvaluationSettings, device: torch.device
) -> Iterator[Tensor] | None:
    """Return several outputs of each of some sources, uint8 (K, 3, R, R), None where diversity is not asked for.

    They are generated when they are read, one source at a time: the paper's preset asks for 30,000 images.
    """
    diversity = settings.diversity
    if diversity is None:
        return None
    repeats = draw_repeats(real.labels, real.is_test, num_classes, diversity.sources, diversity.outputs, settings.seed)
    parts = (slice(start, start + diversity.outputs) for start in range(0, len(repeats.targets), diversity.outputs))
    return (translate(method, real, repeats.part(part), mode, settings.batch, device) for part in parts)


def _save_samples(
    leaf: Leaf[EvaluationSpec], real: RealImages, requests: Requests, generated: Tensor, device: torch.device
) -> None:
    """Write a grid of triples of rows: sources, references, outputs, spread over the classes."""
    chosen = torch.linspace(0, len(generated) - 1, 3 * GRID_COLUMNS).long()
    rows = []
    for block in torch.split(chosen, GRID_COLUMNS):
        rows += [real.images[requests.sources[block]], real.images[requests.references[block]], generated[block]]
    save_grid(leaf.file("samples.png"), to_images(torch.cat(rows), device), GRID_COLUMNS)
