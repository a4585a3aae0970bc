"""Did each row of a table learn? Its distances beside those of the same method before its first step.

    python benchmarks/untrained.py --table table1 --preset open

needs the table's results. A network before training draws nearly one flat image; where a distance of the trained row
is not below that of the flat image, the budget was too small for that method.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from kdx2i.config import find_root
from kdx2i.data.images import ImageSet, Split
from kdx2i.metrics.classwise import classwise_distances
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Plan
from kdx2i.plan.leaf import Leaf
from kdx2i.stages.evaluate import requests_of, translate
from kdx2i.stages.scoring import evaluator
from kdx2i.stages.train import initial_method
from kdx2i.stages.training import fetcher
from kdx2i.training.determinism import make_deterministic
from kdx2i.training.sampling import BalancedImages

METRICS = ("mKIDx100", "mFID")


def main() -> None:
    """Print one line for each evaluation of the table's first seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="table1")
    parser.add_argument("--preset", default="open")
    arguments = parser.parse_args()
    make_deterministic()
    plan = Plan(find_root(), arguments.preset)
    print("| run | mode | mKIDx100 before | after | mFID before | after |\n| --- | --- | ---: | ---: | ---: | ---: |")
    seen = set()
    for cell in plan.table(arguments.table).cells:
        for leaf in cell.leaves[:1]:
            path = leaf.file("metrics.json")
            if leaf.name in seen or not path.is_file():
                continue
            seen.add(leaf.name)
            after = json.loads(path.read_text())["values"]
            columns = " | ".join(
                f"{before:.1f} | {after[metric]['value']:.1f}"
                for metric, before in zip(METRICS, untrained(plan, leaf), strict=True)
            )
            run = "/".join(Path(leaf.name).parts[3:7])
            print(f"| {run} | {leaf.spec['mode']} | {columns} |")
            sys.stdout.flush()


def untrained(plan: Plan, leaf: Leaf) -> tuple[float, float]:
    """Return mKID x 100 and mFID of an evaluation's run before its first step, for the same requests."""
    run, spec = leaf.inputs["run"], leaf.spec
    device = torch.device("cpu")
    settings = EvaluationSettings.model_validate(spec["evaluation"])
    split = Split(leaf.inputs["split"].folder)
    images = ImageSet(split, "train", spec["resolution"])
    sampler = BalancedImages(fetcher(images), images.labels, len(split.classes), device)
    method = initial_method(plan, run, sampler)
    scorer = evaluator(plan, leaf, settings, None, device)
    real = scorer.roles
    classes = len(scorer.classes)
    requests = requests_of(leaf, real, scorer.classes, settings)
    made = scorer.embed(translate(method, real, requests, spec["guidance"], settings.batch, device), requests.targets)
    known = scorer.part(settings.real_set)
    found = classwise_distances(made.features, made.labels, known.features, known.labels, classes)
    kernel, frechet = found.mean_kernel(), found.mean_frechet()
    assert kernel is not None and frechet is not None
    return 100 * kernel.value, frechet.value


if __name__ == "__main__":
    main()
