"""What a shipped teacher draws: how far from its training drawings, and whether it copies them."""

from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from kdx2i.data.images import load_images
from kdx2i.data.rows import Split
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, write_json
from kdx2i.metrics.distances.frechet import frechet_distance
from kdx2i.metrics.distances.kernel import kernel_distance
from kdx2i.metrics.extractors.extractor import Extractor, extractor_from_settings
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Plan
from kdx2i.provenance import require_current
from kdx2i.teacher.biggan.weights import load_biggan
from kdx2i.teacher.recipes import BigGANRecipe, load_recipe
from kdx2i.teacher.stylegan2.weights import load_teacher
from kdx2i.training.determinism import generator, make_deterministic
from kdx2i.training.precision import to_pixels

COUNT = 1000
"""Samples of a teacher."""
BATCH = 50
SIDE = 32
"""Pixels of a side at which images are looked up among the drawings."""


def score_teacher(plan: Plan, name: str) -> Path:
    """Write `benchmarks/teachers/<name>.scores.json` beside a shipped teacher, and return its path.

    FID and KID x 100 of 1,000 samples from all training drawings, by the feature network of the plan's preset, beside
    those of one random half of the drawings from the other (floor) and of uniform noise. `memorisation`: L1 in [0, 1],
    at 32 px, from a sample to the nearest training drawing or its mirror image (median, 5th percentile), the same from
    a training drawing to the nearest other one, and the share in per cent of samples that are nearer than the nearest
    5 % of drawings are to each other. A teacher or split that is not there raises `UserError`.
    """
    recipe = load_recipe(plan.root, name)
    weights = plan.root / "benchmarks" / "teachers" / f"{name}.safetensors"
    if not weights.is_file():
        raise UserError(f"{weights} does not exist: make it with `kdx2i teacher {name}` and `kdx2i ship {name}`")
    split = plan.split(recipe.dataset)
    require_current([split])
    make_deterministic()
    real, labels = load_images(Split(split.folder), "train", recipe.resolution)
    drawn = samples(weights, isinstance(recipe, BigGANRecipe), labels)
    extractor = extractor_from_settings(EvaluationSettings.model_validate(plan.evaluation_settings))
    order = torch.randperm(len(real), generator=generator(0, "halves"))
    halves = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
    noise = torch.randint(256, drawn.shape, generator=generator(0, "noise"), dtype=torch.uint8)
    document = {
        "teacher": name,
        "sha256": sha256_file(weights),
        "samples": len(drawn),
        "drawings": len(real),
        **extractor.describe(),
        "distances": {
            "samples": distances(extractor, drawn, real),
            "halves": distances(extractor, *halves),
            "noise": distances(extractor, noise, real),
        },
        "memorisation": memorisation(drawn, real),
    }
    target = weights.with_suffix(".scores.json")
    write_json(target, document)
    return target


@torch.no_grad()
def samples(weights: Path, biggan: bool, labels: Tensor) -> Tensor:
    """Return uint8 samples [1000, 3, R, R] of a teacher's file, a BigGAN's with the classes of random drawings."""
    torch.manual_seed(0)
    network = load_biggan(weights).generator if biggan else load_teacher(weights).generator
    parts = []
    for _ in track(range(COUNT // BATCH), "samples", console=Console(stderr=True)):
        if biggan:
            z = torch.randn(BATCH, network.config.noise_dim)  # type: ignore[union-attr]
            images = network(z, labels[torch.randint(len(labels), (BATCH,))])
        else:
            images = network(torch.randn(BATCH, network.config.z_dim), noise="const")
        parts.append(to_pixels(images))
    return torch.cat(parts)


def distances(extractor: Extractor, images: Tensor, real: Tensor) -> dict[str, float]:
    """Return FID and KID x 100 of uint8 images [N, 3, R, R] from real ones [M, 3, R, R]."""
    features = [torch.cat([extractor(part) for part in torch.split(x, 256)]).numpy() for x in (images, real)]
    return {"FID": frechet_distance(*features), "KIDx100": 100 * kernel_distance(*features)}


def _small(images: Tensor) -> Tensor:
    """Return uint8 images [N, 3, R, R] in [0, 1], at most `SIDE` pixels large, by means over squares."""
    return F.avg_pool2d(images.float() / 255, max(1, images.shape[-1] // SIDE))


def memorisation(drawn: Tensor, real: Tensor) -> dict[str, float]:
    """Return how near samples, and real images, uint8 [N, 3, R, R], are to the nearest (other) real image."""
    drawn, real = (_small(images) for images in (drawn, real))
    known = torch.cat([real, real.flip(-1)]).flatten(1)
    itself = torch.arange(len(real))

    def nearest(images: Tensor, without: bool) -> Tensor:
        found = []
        for start in track(range(0, len(images), BATCH), "nearest drawings", console=Console(stderr=True)):
            part = images[start : start + BATCH].flatten(1)
            away = torch.cdist(part, known, p=1) / known.shape[1]
            if without:
                rows, own = torch.arange(len(part)), itself[start : start + len(part)]
                away[rows, own], away[rows, own + len(real)] = torch.inf, torch.inf
            found.append(away.min(dim=1).values)
        return torch.cat(found)

    of_samples, of_real = nearest(drawn, False), nearest(real[: len(drawn)], True)
    close = float(of_real.quantile(0.05))
    return {
        "samples_median": float(of_samples.median()),
        "samples_5th": float(of_samples.quantile(0.05)),
        "drawings_median": float(of_real.median()),
        "drawings_5th": close,
        "copies": 100 * float((of_samples < close).double().mean()),
    }
