"""Did each row of a table learn? Its distances beside those of the same method before its first step.

    python benchmarks/untrained.py --table table1 --preset open

needs the table's results. The network that gives the features knows natural images: to it the coloured noise of an
untrained network can be nearer to flat drawings than a blurred drawing is. So a third distance asks for less: mKID of
thumbnails, of 8 x 8 pixels, whose features are their grey levels.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from kdx2i.config import find_root
from kdx2i.data.images import ImageSet, Split
from kdx2i.metrics.distances.classwise import classwise_distances
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Plan
from kdx2i.plan.leaf import Leaf
from kdx2i.stages.evaluate import load_method, requests_of, translate
from kdx2i.stages.leaf_scorer import evaluator
from kdx2i.stages.train import initial_method
from kdx2i.stages.training_outputs import fetcher
from kdx2i.training.determinism import make_deterministic
from kdx2i.training.sampling import BalancedImages

METRICS = ("mKIDx100", "mFID")
THUMBNAIL = 8


def main() -> None:
    """Print one line for each evaluation of the table's first seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="table1")
    parser.add_argument("--preset", default="open")
    arguments = parser.parse_args()
    make_deterministic()
    plan = Plan(find_root(), arguments.preset)
    names = (*METRICS, "thumbnails")
    print("| run | mode |" + "".join(f" {name} before | after |" for name in names))
    print("| --- | --- |" + " ---: | ---: |" * len(names))
    seen = set()
    for cell in plan.table(arguments.table).cells:
        for leaf in cell.leaves[:1]:
            if leaf.name in seen or not leaf.file("metrics.json").is_file():
                continue
            seen.add(leaf.name)
            columns = " | ".join(f"{before:.1f} | {after:.1f}" for before, after in distances(plan, leaf))
            run = "/".join(Path(leaf.name).parts[3:7])
            print(f"| {run} | {leaf.spec['mode']} | {columns} |")
            sys.stdout.flush()


def distances(plan: Plan, leaf: Leaf) -> list[tuple[float, float]]:
    """Return mKID x 100, mFID and mKID x 100 of thumbnails, each before the first step and after training.

    Both answer the same requests; the first two after training are those of the evaluation itself.
    """
    run, spec = leaf.inputs["run"], leaf.spec
    device = torch.device("cpu")
    settings = EvaluationSettings.model_validate(spec["evaluation"])
    split = Split(leaf.inputs["split"].folder)
    images = ImageSet(split, "train", spec["resolution"])
    sampler = BalancedImages(fetcher(images), images.labels, len(split.classes), device)
    scorer = evaluator(plan, leaf, settings, None, device)
    real, classes, known = scorer.roles, len(scorer.classes), scorer.part(settings.real_set)
    requests = requests_of(leaf, real, scorer.classes, settings)
    made = [
        translate(method, real, requests, spec["guidance"], settings.batch, device)
        for method in (initial_method(plan, run, sampler), load_method(leaf, classes, device))
    ]
    untrained = scorer.embed(made[0], requests.targets)
    found = classwise_distances(untrained.features, untrained.labels, known.features, known.labels, classes)
    kernel, frechet = found.mean_kernel(), found.mean_frechet()
    assert kernel is not None and frechet is not None
    after = json.loads(leaf.file("metrics.json").read_text())["values"]
    parts = {"all": torch.ones_like(real.is_test), "test": real.is_test, "train": ~real.is_test}
    wanted = parts[settings.real_set]
    small = [
        classwise_distances(
            thumbnails(part), requests.targets, thumbnails(real.images[wanted]), real.labels[wanted], classes
        ).mean_kernel()
        for part in made
    ]
    assert small[0] is not None and small[1] is not None
    return [
        (100 * kernel.value, after[METRICS[0]]["value"]),
        (frechet.value, after[METRICS[1]]["value"]),
        (100 * small[0].value, 100 * small[1].value),
    ]


def thumbnails(images: Tensor) -> Tensor:
    """Return the grey levels, -1 to 1, of uint8 images [N, 3, H, W] made small: [N, 192]."""
    return F.adaptive_avg_pool2d(images.float() / 127.5 - 1.0, THUMBNAIL).flatten(1)


if __name__ == "__main__":
    main()
