"""The control rows: deterministic, balanced, and ordered as they must be."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdx2i.data import images as images_module
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.runs import embed_generated, run_scorer
from kdx2i.metrics.settings import DiversitySettings, EvaluationSettings
from kdx2i.tasks.scoring import translation_controls as controls
from kdx2i.tasks.scoring.translation_controls import CONTROLS, directed_controls, halves
from kdx2i.tasks.scoring.translation_requests import draw_requests

CLASSES = ["bear", "cat", "dog"]
METRICS = ("mFID", "mKIDx100", "FID", "KIDx100", "RC", "FC")
SETTINGS = EvaluationSettings(extractor="tests-random", images_per_class=4, control_repeats=3)


@pytest.fixture
def real(images: Any) -> RealImages:
    """Return 24 training and 12 test images whose class is their brightest channel."""
    labels = torch.arange(36) % 3
    pictures = images(36, 32, 1).float() * 0.5
    pictures[torch.arange(36), labels] += 100
    return RealImages(pictures.to(torch.uint8), labels, torch.arange(36) >= 24)


def control_values(real: RealImages, extractor: Extractor, metrics: tuple[str, ...] = METRICS, **options: Any) -> Any:
    """Return the controls of a real set scored with `extractor`."""
    scorer = run_scorer(real, CLASSES, options.pop("settings", SETTINGS), extractor=extractor)
    return controls.control_values(scorer, metrics, **options)


def test_the_controls(real: RealImages, extractor: Extractor) -> None:
    first = control_values(real, extractor)
    assert tuple(first) == CONTROLS and all(set(values) == set(METRICS) for values in first.values())
    second = control_values(real, extractor)
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
    floor, copied, mean, blank, noise = (first[name] for name in CONTROLS)
    for metric in ("mFID", "mKIDx100"):
        assert floor[metric]["value"] < copied[metric]["value"]
        assert all(floor[metric]["value"] < other[metric]["value"] for other in (mean, blank, noise))
        assert (floor[metric]["n_real"], floor[metric]["n_generated"]) == (18, 18)
        assert floor[metric]["repeats"] == 3
    assert floor["RC"]["value"] > 90.0
    assert floor["FC"]["value"] == floor["RC"]["value"]
    assert (floor["RC"]["n_train"], floor["RC"]["n_test"], floor["RC"]["n_generated"]) == (24, 12, 0)
    assert copied["RC"]["value"] < 10.0  # the real classifier sees the source class
    assert copied["mFID"]["n_generated"] == noise["mFID"]["n_generated"] == 12


def test_controls_of_mapped_images_are_those_of_images_in_memory(
    real: RealImages, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    diversity = DiversitySettings(sources=4, outputs=3)
    options = {"settings": SETTINGS.model_copy(update={"diversity": diversity}), "metrics": (*METRICS, "LPIPS")}
    in_memory = control_values(real, extractor, **options)
    monkeypatch.setattr(images_module, "CACHE_BYTES", 0)
    mapped = images_module.pixel_store(real.images.shape)
    mapped.copy_(real.images)
    assert control_values(RealImages(mapped, real.labels, real.is_test), extractor, **options) == in_memory


def test_controls_of_one_direction_see_its_classes_only(real: RealImages, extractor: Extractor) -> None:
    settings = SETTINGS.model_copy(update={"images_per_direction": 7})
    scorer = run_scorer(real, CLASSES, settings, extractor=extractor)
    rows_of_direction = directed_controls(scorer, ("FID", "KIDx100"), 0, 2)
    assert tuple(rows_of_direction) == CONTROLS and all(
        set(values) == {"FID", "KIDx100"} for values in rows_of_direction.values()
    )
    floor, *others = (rows_of_direction[name]["FID"] for name in CONTROLS)
    assert all(floor["value"] < other["value"] for other in others)
    # Four of the twelve test images are dogs; of the eight dogs to train on, as many as translations are asked for.
    assert [(entry["n_real"], entry["n_generated"]) for entry in (floor, *others)] == [(4, 7)] * 5


def test_a_class_mean_is_of_training_images_and_a_blank_of_one_colour(real: RealImages, extractor: Extractor) -> None:
    scorer = run_scorer(real, CLASSES, SETTINGS, extractor=extractor)
    train = real.images[~real.is_test].float()
    means = controls.class_mean_images(scorer)
    for label in range(3):
        expected = train[real.labels[~real.is_test] == label].mean(0).round()
        assert torch.equal(means[label].float(), expected)
    blank = controls.blank_image(scorer)
    assert blank.shape == real.images.shape[1:] and torch.equal(blank, blank[:, :1, :1].expand_as(blank))
    assert (blank[:, 0, 0].float() - train.mean((0, 2, 3))).abs().max() <= 0.5
    # A class whose test images alone change keeps its mean and the blank its colour.
    changed = RealImages(torch.where(real.is_test[:, None, None, None], 0, real.images), real.labels, real.is_test)
    other = run_scorer(changed, CLASSES, SETTINGS, extractor=extractor)
    assert torch.equal(controls.class_mean_images(other), means) and torch.equal(controls.blank_image(other), blank)


def test_without_accuracies_no_classifier_is_trained(real: RealImages, extractor: Extractor) -> None:
    scorer = run_scorer(real, CLASSES, SETTINGS, extractor=extractor)
    asked = [name for name in METRICS if name not in ("RC", "FC")]
    assert list(scorer.score(embed_generated(scorer, real.images, real.labels), asked)) == asked
    for values in controls.control_values(scorer, asked).values():
        assert list(values) == asked
    assert "real_classifier" not in vars(scorer)


def test_diversity_of_copies_is_zero(real: RealImages, extractor: Extractor) -> None:
    chosen = SETTINGS.model_copy(update={"diversity": DiversitySettings(sources=2, outputs=3)})
    values = control_values(real, extractor, ("FID", "LPIPS"), settings=chosen)
    floor, copied, mean, blank, noise = (values[name]["LPIPS"] for name in CONTROLS)
    assert all(same["value"] == pytest.approx(0.0, abs=1e-9) for same in (copied, mean, blank))
    assert floor["value"] > 0.01 and noise["value"] > 0.01
    assert (copied["n_sources"], copied["n_generated"], floor["n_generated"]) == (2, 6, 36)


def test_the_inputs_are_those_asked_of_the_runs(real: RealImages, extractor: Extractor) -> None:
    requests = draw_requests(real.labels, real.is_test, 3, SETTINGS.images_per_class, SETTINGS.seed)
    given = control_values(real, extractor, copied=(real.images[requests.sources], requests.targets))
    assert control_values(real, extractor) == given


def test_given_inputs_are_used(real: RealImages, extractor: Extractor) -> None:
    copied = real.images[:6], (real.labels[:6] + 1) % 3
    values = control_values(real, extractor, copied=copied)
    assert values["input_copied"]["RC"]["n_generated"] == 6
    assert values["input_copied"]["RC"]["value"] == 0.0


@pytest.mark.parametrize("part", ["all", "train", "test"])
def test_pooled_floor(real: RealImages, extractor: Extractor, part: Any) -> None:
    chosen = SETTINGS.model_copy(update={"pooled_real_set": part})
    entry = control_values(real, extractor, settings=chosen)["real_vs_real"]["KIDx100"]
    assert (entry["n_generated"], entry["n_real"]) == {"all": (18, 18), "train": (12, 24), "test": (24, 12)}[part]


def test_a_class_too_small_to_halve_is_null(real: RealImages, extractor: Extractor) -> None:
    keep = (real.labels != 2) | (torch.arange(36) < 9)
    small = RealImages(real.images[keep], real.labels[keep], real.is_test[keep])
    values = control_values(small, extractor)
    assert values["real_vs_real"]["mFID"]["value"] is None
    assert "dog has 1 generated and 1 real" in values["real_vs_real"]["mFID"]["reason"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=30), st.integers(0, 1000))
def test_halves(labels: list[int], seed: int) -> None:
    values = torch.tensor(labels, dtype=torch.int64)
    first, second = halves(values, 4, torch.Generator().manual_seed(seed))
    assert not set(first.tolist()) & set(second.tolist())
    for label in range(4):
        count = labels.count(label) // 2
        assert int((values[first] == label).sum()) == int((values[second] == label).sum()) == count
