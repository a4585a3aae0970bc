"""Train small methods for some seeds, in a process with an instruction set of its own, and print their distances.

    python agreement_worker.py ROWS SEEDS [DROPPED]

prints JSON: [[row, data, metric, seed, value], ...]. Two rows (StarGAN v2, and the same without its diversity), on two
sets of drawn pictures; DROPPED is a weight of the objective that is set to zero, as if the term had been forgotten.
"""

import json
import sys
from typing import Any

import torch
from tiny import CLASSES, CPU, SIZES, pictures, translated
from torch import Tensor

from kdx2i.methods.base import MethodSetup
from kdx2i.methods.stargan_v2.method import Method
from kdx2i.methods.stargan_v2.settings import Settings, Train
from kdx2i.metrics.distances.classwise import classwise_distances
from kdx2i.training.determinism import make_deterministic, seed_step
from kdx2i.training.precision import to_images
from kdx2i.training.sampling import BalancedImages

ROWS: dict[str, dict[str, Any]] = {"whole": {}, "no diversity": {"lambda_ds": 0.0}}
DATA = {"first": 5, "second": 6}
STEPS = 25
EACH = 8


def trained(row: str, images: Tensor, seed: int, dropped: dict[str, float]) -> Method:
    """Return a row's method after its updates."""
    settings = Train(
        batch=4, learning_rate=0.01, mapping_learning_rate=0.001, ds_iterations=STEPS, **(ROWS[row] | dropped)
    )
    sampler = BalancedImages(lambda indices: images[indices], torch.arange(len(images)) % CLASSES, CLASSES, CPU)
    torch.manual_seed(seed)
    method = Method(MethodSetup(Settings(networks=SIZES, train=settings), 8, CLASSES, CPU, sampler))
    for step in range(STEPS):
        seed_step(seed, step)
        method.training_step(step)
    method.copy_to_averages()
    return method


def distances(method: Method, images: Tensor) -> dict[str, float]:
    """Return class-wise distances of pixels between the method's translations and the pictures."""
    classes = torch.arange(CLASSES).repeat_interleave(EACH)
    torch.manual_seed(0)
    made = translated(method, to_images(images[torch.arange(len(classes)) % len(images)], CPU), classes, "latent")
    features = ((made + 1) / 2).flatten(1).double().numpy(), (images / 255).flatten(1).double().numpy()
    found = classwise_distances(
        features[0], classes, features[1], torch.arange(len(images)) % CLASSES, CLASSES, errors=False
    )
    kernel, frechet = found.mean_kernel(), found.mean_frechet()
    assert kernel is not None
    assert frechet is not None
    return {"mKIDx100": 100 * kernel.value, "mFID": frechet.value}


def main(rows: str, seeds: str, dropped: str = "") -> None:
    """Print the values of all rows, data and seeds."""
    make_deterministic()
    values = []
    for row in rows.split(","):
        for data, drawn in DATA.items():
            images = pictures(15, seed=drawn)
            for seed in map(int, seeds.split(",")):
                method = trained(row, images, seed, {dropped: 0.0} if dropped else {})
                values += [[row, data, name, seed, value] for name, value in distances(method, images).items()]
    print(json.dumps(values))


if __name__ == "__main__":
    main(*sys.argv[1:])
