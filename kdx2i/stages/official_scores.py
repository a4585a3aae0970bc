"""`kdx2i score --checkpoint FILE`: a model of its authors, asked and scored as a run of a preset is."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table as Grid
from torch import Tensor

from kdx2i.data.rows import Split
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.official_models import build_published, read_published
from kdx2i.methods.published import Published
from kdx2i.metric_catalogue import METRICS
from kdx2i.metrics.runs import embed_generated
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import EvaluationSpec
from kdx2i.provenance import packages, require_current
from kdx2i.stages.console import screen
from kdx2i.stages.leaf_scorer import scorer_of
from kdx2i.stages.progress import progress_bar
from kdx2i.stages.train import encoder_file
from kdx2i.tasks.opening import Task
from kdx2i.tasks.scoring.base import Requests, open_scoring
from kdx2i.training.determinism import derive_seed, describe_device, make_deterministic, pick_device
from kdx2i.training.precision import to_pixels

FORMAT = "kdx2i-official-1"
MOST_EXEMPLARS = 500


@dataclass(frozen=True)
class OfficialRequest:
    """What is scored on which data set; None: what the file or the architecture says. `encoder`: of its conditions."""

    checkpoint: Path
    architecture: str
    dataset: str
    mode: str | None = None
    resolution: int | None = None
    encoder: Path | None = None
    seed: int = 0


def score_checkpoint(plan: Plan, request: OfficialRequest) -> dict[str, Any]:
    """Score a published checkpoint by the preset's protocol, print the values, and return the document.

    What a run's evaluation reads beside the run (the split, the networks that score) must be there and current.
    `UserError` for a file that is none, and for a data set that the model was not trained for.
    """
    published = read_published(request.architecture, request.checkpoint, request.resolution)
    modes = published.modes or architectures()[request.architecture].modes
    mode = request.mode or modes[0]
    if mode.split("-")[0] not in modes:
        raise UserError(f"{request.checkpoint} has no mode `{mode}`; its modes are {', '.join(modes)}")
    leaf = plan.evaluation(request.dataset, request.architecture, "scratch", published.resolution, request.seed, mode)
    # What a run would start from is no part of it: the file is the model.
    start = {"run", *leaf.inputs["run"].inputs} - {"split", "encoder"}
    require_current(upstream for role, upstream in leaf.inputs.items() if role not in start)
    os.environ["OMP_NUM_THREADS"] = str(plan.preset.resources.threads)
    make_deterministic()
    document = _document(plan, leaf, request, published, pick_device())
    _print(document)
    return document


def _document(
    plan: Plan, leaf: Leaf[EvaluationSpec], request: OfficialRequest, published: Published, device: torch.device
) -> dict[str, Any]:
    spec = leaf.spec
    settings = EvaluationSettings.model_validate(spec.evaluation)
    scoring = open_scoring(spec.task, Split(leaf.inputs["split"].folder), spec.resolution)
    method = _method(leaf, request, published, scoring.task, device)
    scorer = scorer_of(plan, leaf, scoring, settings, device)
    requests = scoring.requests(spec, settings)

    def answer(asked: Requests) -> Tensor:
        images = []
        with progress_bar("images", len(asked.labels)) as advance:
            for begin in range(0, len(asked.labels), settings.batch):
                condition = asked.condition(slice(begin, begin + settings.batch), device)
                images.append(to_pixels(method.generate(condition)))
                advance(len(images[-1]))
        return torch.cat(images)

    # As `kdx2i evaluate`: the same noise, so that the row beside it differs by the weights alone.
    torch.manual_seed(derive_seed(spec.seed, "evaluate", spec.mode))
    images = answer(requests)
    generated = scoring.completed(embed_generated(scorer, images, requests.labels), requests, answer, settings)
    return {
        "format": FORMAT,
        "values": scoring.scorer(scorer, spec, requests).score(generated, spec.metrics),
        "architecture": request.architecture,
        "checkpoint": {file.name: sha256_file(file) for file in published.files},
        "networks": dict(published.networks),
        "dataset": request.dataset,
        "preset": plan.preset.name,
        "resolution": spec.resolution,
        "mode": spec.mode,
        "seed": spec.seed,
        **scorer.describe(),
        "device": describe_device(device),
        "packages": packages(),
    }


def _method(
    leaf: Leaf[EvaluationSpec], request: OfficialRequest, published: Published, task: Task, device: torch.device
) -> Any:
    """Return the model for the classes and conditions of a data set."""
    count, where = len(task.classes), request.checkpoint
    if leaf.spec.task == "image-to-image":
        if published.one_direction and leaf.spec.direction is None:
            raise UserError(f"{where} translates in one direction: ask for it, e.g. --mode latent-dog2cat")
        fits = published.one_direction or published.num_classes == count
        if not fits and (published.num_classes < count or "teacher_classes" not in published.networks):
            raise UserError(
                f"{where} was trained for {published.num_classes} classes, and {request.dataset} has {count}: "
                "score it on the data set that it was trained for"
            )
    kept = task.training_data(device) if published.needs_exemplars else None
    more = {"exemplars": MOST_EXEMPLARS} if published.needs_exemplars else {}
    encoders = request.encoder or encoder_file(leaf.inputs["run"])
    method = build_published(
        request.architecture, published, device, num_classes=count, encoders=encoders, images=kept, networks=more
    )
    if published.one_direction:
        # One file is one direction: it stands in the place of the one that is asked for.
        for name, average in method.averages.items():
            part = name.rpartition("_")[0]
            if f"{part}_0" in published.states and name != f"{part}_0":
                average.load_state_dict(method.averages[f"{part}_0"].state_dict())
    return method


def _print(document: dict[str, Any]) -> None:
    """Print the values as a table."""
    names = ", ".join(document["checkpoint"])
    grid = Grid(
        title=f"{document['architecture']}, official weights ({escape(names)}), on {document['dataset']}",
        caption=f"preset {document['preset']}, mode {document['mode']}, {document['resolution']} px, "
        f"extractor {document['extractor']}",
        title_justify="left",
        caption_justify="left",
    )
    for heading in ("metric", "value", "95 % interval"):
        grid.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    for name, entry in document["values"].items():
        metric, interval = METRICS[name], entry.get("interval")
        between = f"{metric.text(interval[0])} to {metric.text(interval[1])}" if interval else "–"
        value = "–" if entry["value"] is None else metric.text(entry["value"])
        grid.add_row(escape(metric.heading), value, between)
    screen().print(grid)
