"""Did each row of a table learn? Its class-wise metrics beside those of the same method before its first step.

    python benchmarks/untrained.py --table table1 --preset open

needs the table's results. The network that gives the features knows natural images: to it the coloured noise of an
untrained network can be nearer to flat drawings than a blurred drawing is. So a last column asks for less: mKID of
thumbnails, of 8 x 8 pixels, whose features are their grey levels.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.config import find_root
from kdx2i.data.rows import Split
from kdx2i.files import read_json
from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.distances.classwise import classwise_distances
from kdx2i.metrics.runs import embed_generated
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.specs import EvaluationSpec
from kdx2i.stages.evaluate import load_method
from kdx2i.stages.leaf_scorer import scorer_of
from kdx2i.stages.train import initial_method
from kdx2i.suite import make_plan
from kdx2i.tasks.opening import open_task
from kdx2i.tasks.scoring.base import generate, open_scoring
from kdx2i.training.determinism import derive_seed, make_deterministic

CLASS_WISE = tuple(metric.name for metric in METRICS.values() if Need.TWO_IMAGES_A_CLASS in metric.needs)
THUMBNAILS = "thumbnails"
SIDE = 8
"""Pixels of a thumbnail's side."""


def main() -> None:
    """Print one line for each evaluation of the table's first seed that has class-wise metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="table1")
    parser.add_argument("--preset", default="open")
    arguments = parser.parse_args()
    make_deterministic()
    plan = make_plan(find_root(), arguments.preset)
    columns = (*CLASS_WISE, THUMBNAILS)
    print("| run | mode |" + "".join(f" {name} before | after |" for name in columns))
    print("| --- | --- |" + " ---: | ---: |" * len(columns))
    first_seeds = {leaf.name: leaf for cell in plan.table(arguments.table).cells for leaf in cell.leaves[:1]}
    for leaf in first_seeds.values():
        if leaf.spec.direction is None and leaf.file("metrics.json").is_file():
            values = before_and_after(plan, leaf)
            cells = " | ".join(f"{value:.1f}" for name in columns for value in values.get(name, (torch.nan, torch.nan)))
            run = "/".join(Path(leaf.name).parts[3:7])
            print(f"| {run} | {leaf.spec.mode} | {cells} |")
            sys.stdout.flush()


def before_and_after(plan: Plan, leaf: Leaf[EvaluationSpec]) -> dict[str, tuple[float, float]]:
    """Return the class-wise metrics of an evaluation and mKID x 100 of thumbnails, before the first step and after.

    Both answer the same requests; the metrics after training are those of the evaluation itself.
    """
    run, spec, device = leaf.inputs["run"], leaf.spec, torch.device("cpu")
    settings = EvaluationSettings.model_validate(spec.evaluation)
    split = Split(leaf.inputs["split"].folder)
    scoring = open_scoring(spec.task, split, spec.resolution)
    scorer = scorer_of(plan, leaf, scoring, settings, device)
    requests = scoring.requests(spec, settings)
    untrained = initial_method(plan, run, open_task(spec.task, split, spec.resolution), device)
    trained = load_method(run, len(scoring.task.classes), device)

    def images_of(method: Any) -> Tensor:
        torch.manual_seed(derive_seed(spec.seed, "evaluate", spec.mode))
        return generate(method, requests, settings.batch, device)

    first, last = images_of(untrained), images_of(trained)
    names = [name for name in CLASS_WISE if name in spec.metrics]
    scored = scoring.scorer(scorer, spec, requests).score(embed_generated(scorer, first, requests.labels), names)
    stored = read_json(leaf.file("metrics.json"))["values"]
    values = {name: (scored[name]["value"], stored[name]["value"]) for name in names}
    real = scoring.real
    parts = {"all": torch.ones_like(real.is_test), "test": real.is_test, "train": ~real.is_test}
    known = parts[settings.real_set]
    of_real = thumbnails(real.images[known]), real.labels[known]
    distances = [
        classwise_distances(thumbnails(images), requests.labels, *of_real, len(scoring.task.classes)).mean_kernel()
        for images in (first, last)
    ]
    before, after = (torch.nan if distance is None else 100 * distance.value for distance in distances)
    return {**values, THUMBNAILS: (before, after)}


def thumbnails(images: Tensor) -> Tensor:
    """Return the grey levels, -1 to 1, of uint8 images [N, 3, H, W] made small: [N, 192]."""
    return F.adaptive_avg_pool2d(images.float() / 127.5 - 1.0, SIDE).flatten(1)


if __name__ == "__main__":
    main()
