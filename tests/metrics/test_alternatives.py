"""What the same images score under the registered protocols: measured once each, and null where code has no number."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from kdx2i.metrics.alternatives import measure
from kdx2i.metrics.distances.newton_schulz import newton_schulz_distance
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.images.streams import TensorImages
from kdx2i.metrics.inception.score import score_entry
from kdx2i.metrics.protocols import FEATURES, protocols
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings

CLASSES = ["cat", "dog"]
METRICS = ("FID", "mFID", "KIDx100", "IS")


def embedded(count: int, dimension: int, seed: int) -> EmbeddedSet:
    """Return `count` made-up images with features and logits, half of each class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    features = (torch.randn(count, dimension, generator=generator) + 0.2 * labels[:, None]).abs()
    logits = 2.0 * torch.randn(count, 30, generator=generator)
    images = TensorImages(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), labels)
    return EmbeddedSet(images, labels, features, logits)


def measured(
    extractor: Extractor, features: tuple[str, str], generated: EmbeddedSet, real: EmbeddedSet
) -> list[dict[str, Any]]:
    """Return all measurements of images as if a network and preprocessing had embedded them."""
    named = replace(extractor, name=features[0], preprocessing=features[1])
    scorer = Scorer(real, CLASSES, EvaluationSettings(), named)
    return list(measure(scorer, generated, METRICS, ("all",)))


@pytest.mark.parametrize("features", FEATURES, ids="/".join)
def test_each_protocol_is_measured_once(extractor: Extractor, features: tuple[str, str]) -> None:
    measurements = measured(extractor, features, embedded(48, 4, 0), embedded(40, 4, 1))
    for metric in METRICS:
        expected = [p for p in protocols([metric]) if (p["extractor"], p["preprocessing"]) == features]
        expected = [protocol for protocol in expected if protocol.get("real", "all") == "all"]
        found = [{name: m[name] for name in expected[0]} for m in measurements if m["metric"] == metric]
        assert sorted(map(str, found)) == sorted(map(str, expected))
    assert all(math.isfinite(measurement["value"]) for measurement in measurements)


def test_deepi2i_has_its_own_root_and_score(extractor: Extractor) -> None:
    generated, real = embedded(163, 6, 2), embedded(150, 6, 3)
    measurements = measured(extractor, ("inception-v3-torchvision", "deepi2i"), generated, real)

    def value(metric: str, **choices: str) -> float:
        choice = {"metric": metric, "generated": "all", **choices}
        (entry,) = [m for m in measurements if choice.items() <= m.items()]
        return entry["value"]

    assert value("FID", fid="newton-schulz") == newton_schulz_distance(generated.features, real.features)
    by_class = [
        newton_schulz_distance(generated.features[generated.labels == label], real.features[real.labels == label])
        for label in (0, 1)
    ]
    assert None not in by_class
    assert value("mFID", fid="newton-schulz") == pytest.approx(sum(by_class) / 2, rel=1e-12)  # type: ignore[arg-type]
    for metric in ("FID", "mFID"):
        difference = abs(value(metric, fid="newton-schulz") - value(metric, fid="exact"))
        assert 0.0 < difference < 1e-3
    # 10 parts of 16 images, in the order that torch-fidelity shuffles 163 images into.
    assert generated.logits is not None
    order = torch.from_numpy(np.random.RandomState(2020).permutation(163))
    parts = torch.as_tensor(generated.logits)[order].double().softmax(1)[:160].view(10, 16, 30)
    divergence = (parts * (parts / parts.mean(1, keepdim=True)).log()).sum(2).mean(1)
    assert value("IS", **{"is": "deepi2i"}) == pytest.approx(float(divergence.exp().mean()), rel=1e-9)
    assert score_entry(generated.logits, "deepi2i", "inception-v3-torchvision")["splits"] == 10


def test_a_root_that_runs_away_is_null_with_a_reason(extractor: Extractor) -> None:
    generated, real = embedded(24, 40, 4), embedded(20, 40, 5)
    measurements = measured(extractor, ("inception-v3-torchvision", "deepi2i"), generated, real)
    steps = [m for m in measurements if m.get("fid") == "newton-schulz"]
    exact = [m for m in measurements if m.get("fid") == "exact"]
    assert len(steps) == len(exact) == 4
    assert all(measurement["value"] > 0.0 for measurement in exact)
    assert all(measurement["value"] is None for measurement in steps)
    reasons = {
        measurement["metric"]: measurement["reason"] for measurement in steps if measurement["generated"] == "all"
    }
    assert reasons["FID"].endswith("in no finite number: 24 generated and 20 real images are too few")
    assert reasons["mFID"].endswith("12 generated and 10 real images are too few (class cat)")
