"""The evaluation as a whole: its values are those of the parts, with counts, and never NaN."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repository import assert_not_imported, settings_copy
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metric_catalogue import METRICS as CATALOGUE
from kdx2i.metrics.classifiers.classifier import train_classifier
from kdx2i.metrics.distances.frechet import frechet_distance, frechet_distance_per_class
from kdx2i.metrics.distances.kernel import kernel_distance, kernel_distance_per_class
from kdx2i.metrics.distances.manifold import precision_and_recall
from kdx2i.metrics.extractors.extractor import Extractor, extract, extractor_from_settings
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.inception.score import inception_score
from kdx2i.metrics.runs import embed_generated, run_scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan.metric_choice import evaluation_metrics
from kdx2i.suite import make_plan

CLASSES = ["bear", "cat", "dog"]
METRICS = ("mFID", "mKIDx100", "FID", "KIDx100", "RC", "FC")
SWITCHES = {metric.switch for metric in CATALOGUE.values() if metric.switch}
SETTINGS = EvaluationSettings(extractor="tests-random", images_per_class=4, batch=8)


def make(images: Any, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return `count` images of 3 classes that differ in brightness."""
    labels = torch.arange(count) % 3
    pictures = images(count, 32, seed).float() * (0.4 + 0.3 * labels.view(-1, 1, 1, 1))
    return pictures.clamp(0, 255).to(torch.uint8), labels


def both_roles(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> RealImages:
    """Return the real images of the training and of the test role, each (images, labels)."""
    pixels, labels = (torch.cat(pair) for pair in zip(train, test, strict=True))
    return RealImages(pixels, labels, torch.arange(len(labels)) >= len(train[1]))


@pytest.fixture
def real(images: Any) -> RealImages:
    """Return 18 training and 9 test images."""
    return both_roles(make(images, 18, 1), make(images, 9, 2))


def evaluate(
    generated: tuple[Tensor, Tensor], real: RealImages, extractor: Extractor, **options: Any
) -> dict[str, Any]:
    settings = options.pop("settings", SETTINGS)
    metrics = options.pop("metrics", METRICS)
    scorer = run_scorer(real, CLASSES, settings, extractor=extractor, **options)
    return scorer.score(embed_generated(scorer, *generated), metrics)


def test_precision_and_recall_are_computed_where_they_are_asked_for(
    images: Any, real: RealImages, extractor: Extractor
) -> None:
    generated = make(images, 12, 3)
    scored = evaluate(generated, real, extractor, metrics=("FID", "Precision", "Recall"))
    features, pooled = (extract(extractor, pixels) for pixels in (generated[0], real.images[real.is_test]))
    wanted = precision_and_recall(features, pooled)
    assert (scored["Precision"]["value"], scored["Recall"]["value"]) == wanted
    assert {scored[name]["n_real"] for name in ("Precision", "Recall")} == {9}
    few = evaluate(make(images, 3, 3), real, extractor, metrics=("Precision",))["Precision"]
    assert few["value"] is None
    assert "more than 3 images on each side" in few["reason"]


def test_a_column_of_precision_makes_other_evaluations_of_its_table_and_of_no_other(tmp_path: Path) -> None:
    root = settings_copy(tmp_path)

    def evaluations() -> dict[str, Any]:
        plan = make_plan(root, "open-smoke")
        leaves = [leaf for table in ("table1", "table4") for leaf in plan.table(table).leaves]
        return {leaf.name: leaf for leaf in leaves if leaf.kind.name == "evaluation"}

    before = evaluations()
    assert not any("Precision" in leaf.spec.metrics for leaf in before.values())
    path = root / "benchmarks/tables/table4.yaml"
    asked = path.read_text(encoding="utf-8").replace("metrics: [FID, KIDx100]", "metrics: [FID, KIDx100, Precision]")
    path.write_text(asked, encoding="utf-8")
    after = evaluations()
    changed = {name for name, leaf in after.items() if leaf.identity != before[name].identity}
    assert changed == {name for name, leaf in after.items() if "Precision" in leaf.spec.metrics}
    assert changed and {leaf.spec.dataset for leaf in after.values() if leaf.name in changed} == {"open-felid2canid"}
    # Not even an evaluation that no table has computes it unasked.
    assert "Precision" not in evaluation_metrics(list(CATALOGUE), None, dict.fromkeys(SWITCHES, True), directed=False)


def test_values_are_those_of_the_parts(images: Any, real: RealImages, extractor: Extractor) -> None:
    generated = make(images, 12, 3)
    values = evaluate(generated, real, extractor)
    assert tuple(values) == METRICS
    x, y = extract(extractor, generated[0]), extract(extractor, real.images)
    frechet = frechet_distance_per_class(x, generated[1], y, real.labels, 3)
    kernel = kernel_distance_per_class(x, generated[1], y, real.labels, 3)
    assert values["mFID"]["value"] == pytest.approx(sum(frechet) / 3, rel=1e-12)
    assert values["mKIDx100"]["value"] == pytest.approx(100 * sum(kernel) / 3, rel=1e-12)
    cat = values["mFID"]["per_class"]["cat"]
    assert cat["value"] == pytest.approx(frechet[1], rel=1e-12)
    assert (cat["n_real"], cat["n_generated"]) == (9, 4)
    test = y[real.is_test]
    assert values["KIDx100"]["value"] == pytest.approx(100 * kernel_distance(x, test), rel=1e-12)
    assert values["FID"]["value"] == pytest.approx(frechet_distance(x, test), rel=1e-12)
    counts = {name: (entry["n_real"], entry["n_generated"], entry["classes"]) for name, entry in values.items()}
    assert counts == {
        "mFID": (27, 12, 3),
        "mKIDx100": (27, 12, 3),
        "FID": (9, 12, 3),
        "KIDx100": (9, 12, 3),
        "RC": (18, 12, 3),
        "FC": (9, 12, 3),
    }
    classifier = train_classifier(*generated, 3, SETTINGS.classifier, features=x)
    right = classifier.logits(real.images, features=y).argmax(1) == real.labels
    assert values["FC"]["value"] == pytest.approx(100 * float(right[real.is_test].float().mean()))
    for name in ("RC", "FC"):
        low, high = values[name]["interval"]
        assert 0 <= low <= values[name]["value"] <= high <= 100
        assert values[name]["n_train"] + values[name]["n_test"] > 0


def test_distances_have_intervals_from_the_images(images: Any, real: RealImages, extractor: Extractor) -> None:
    values = evaluate(make(images, 12, 3), real, extractor)
    for name in ("mFID", "mKIDx100", "FID", "KIDx100"):
        low, high = values[name]["interval"]
        assert values[name]["standard_error"] > 0
        assert low < values[name]["value"] < high


def test_inception_score_and_extrapolation_are_asked_for(images: Any, real: RealImages) -> None:
    chosen = EvaluationSettings(input_size=32, inception_score="ssa-gan", infinity=True)
    extractor = extractor_from_settings(chosen)
    generated = make(images, 12, 3)
    values = evaluate(generated, real, extractor, settings=chosen, metrics=("FIDinf", "IS"))
    assert list(values) == ["FIDinf", "IS"]
    logits = extractor.outputs(generated[0])[1]
    assert values["IS"]["value"] == pytest.approx(inception_score(logits, splits=3).mean, rel=1e-9)
    assert values["FIDinf"]["value"] is None
    assert "needs 50" in values["FIDinf"]["reason"]


@pytest.mark.parametrize(("part", "count"), [("all", 27), ("train", 18), ("test", 9)])
def test_the_real_set_is_a_setting(images: Any, real: RealImages, extractor: Extractor, part: Any, count: int) -> None:
    chosen = SETTINGS.model_copy(update={"real_set": part, "pooled_real_set": part})
    values = evaluate(make(images, 12, 3), real, extractor, settings=chosen)
    assert [values[name]["n_real"] for name in METRICS] == [count, count, count, count, 18, 9]


def test_order_of_images_changes_nothing(images: Any, real: RealImages, extractor: Extractor) -> None:
    generated = make(images, 12, 3)
    order = torch.randperm(12)
    first = evaluate(generated, real, extractor)
    second = evaluate((generated[0][order], generated[1][order]), real, extractor)
    for name in METRICS:
        assert second[name]["value"] == pytest.approx(first[name]["value"], rel=1e-9, abs=1e-9)


def test_same_bytes_again(images: Any, real: RealImages, extractor: Extractor, tmp_path: Path) -> None:
    generated = make(images, 12, 3)
    texts = {
        json.dumps(evaluate(generated, real, extractor, cache_dir=cache), allow_nan=False)
        for cache in (None, tmp_path, tmp_path)
    }
    assert len(texts) == 1 and len(list(tmp_path.iterdir())) == 1


def test_each_image_is_embedded_once(
    images: Any, real: RealImages, extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    outputs = Extractor.outputs

    def counted(self: Extractor, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        seen.append(len(batch))
        return outputs(self, batch)

    monkeypatch.setattr(Extractor, "outputs", counted)
    evaluate(make(images, 12, 3), real, extractor)
    assert sum(seen) == 27 + 12


def test_a_given_real_classifier_is_used(images: Any, real: RealImages, extractor: Extractor) -> None:
    generated = make(images, 12, 3)
    train = real.images[~real.is_test], real.labels[~real.is_test]
    classifier = train_classifier(*train, 3, SETTINGS.classifier, extractor=extractor)
    given = evaluate(generated, real, extractor, real_classifier=classifier)
    assert given == evaluate(generated, real, extractor)
    wrong = train_classifier(*train, 4, SETTINGS.classifier, extractor=extractor)
    with pytest.raises(UserError, match="4 classes"):
        evaluate(generated, real, extractor, real_classifier=wrong)


def test_resnet_classifier(images: Any, real: RealImages, extractor: Extractor) -> None:
    classifier = SETTINGS.classifier.model_copy(update={"architecture": "resnet18", "epochs": 1})
    chosen = SETTINGS.model_copy(update={"classifier": classifier})
    values = evaluate(make(images, 12, 3), real, extractor, settings=chosen)
    assert 0 <= values["RC"]["value"] <= 100 and 0 <= values["FC"]["value"] <= 100


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_never_nan_whatever_is_missing(data: st.DataObject, images: Any, extractor: Extractor) -> None:
    def draw(most: int, seed: int) -> tuple[Tensor, Tensor]:
        labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), max_size=most)), dtype=torch.int64)
        kind = data.draw(st.sampled_from(["noise", "constant"]))
        pictures = images(len(labels), 32, seed) if len(labels) else torch.zeros(0, 3, 32, 32, dtype=torch.uint8)
        return (pictures if kind == "noise" else torch.zeros_like(pictures)), labels

    real = both_roles(draw(8, 1), draw(6, 2))
    generated = draw(10, 3)
    values = evaluate(generated, real, extractor)
    json.dumps(values, allow_nan=False)
    for entry in values.values():
        assert (entry["value"] is None) == ("reason" in entry)
        assert {"n_real", "n_generated", "classes"} <= set(entry)
    enough = all(int((labels == label).sum()) >= 2 for labels in (generated[1], real.labels) for label in range(3))
    assert (values["mFID"]["value"] is not None) == enough


def test_too_few_images_name_the_class(images: Any, real: RealImages, extractor: Extractor) -> None:
    pictures, labels = make(images, 12, 3)
    few = torch.cat([torch.nonzero(labels != 1).flatten(), torch.tensor([1])])
    values = evaluate((pictures[few], labels[few]), real, extractor)
    assert values["mFID"]["value"] is None
    assert "cat has 1 generated and 9 real (1 such classes)" in values["mFID"]["reason"]
    assert values["mFID"]["per_class"]["cat"]["value"] is None
    assert values["mFID"]["per_class"]["dog"]["value"] > 0
    assert values["KIDx100"]["value"] is not None and values["FC"]["value"] is not None
    none = labels != 1
    values = evaluate((pictures[none], labels[none]), real, extractor)
    assert "no generated image of class cat" in values["FC"]["reason"]


def test_wrong_input_is_one_sentence(images: Any, real: RealImages, extractor: Extractor) -> None:
    pictures, labels = make(images, 12, 3)
    for generated, words in [
        ((pictures.float(), labels), "uint8"),
        ((pictures[:, :2], labels), "uint8"),
        ((pictures, labels[:5]), "label"),
        ((pictures, labels.float()), "int64"),
        ((pictures, labels + 1), "outside"),
        ((images(12, 64, 3), labels), "pixels"),
    ]:
        with pytest.raises(UserError, match=words):
            evaluate(generated, real, extractor)


def test_description_and_builtin_extractor(images: Any, real: RealImages) -> None:
    scorer = run_scorer(real, CLASSES, EvaluationSettings(input_size=32))
    described = scorer.describe()
    assert described["extractor"] == "efficientnet-lite0" and described["preprocessing"] == "clean"
    assert len(described["extractor_sha256"]) == 64
    json.dumps(described)
    values = scorer.score(embed_generated(scorer, *make(images, 12, 3)), METRICS)
    assert all(values[name]["value"] is not None for name in METRICS)


def test_settings_need_no_torch() -> None:
    code = "import sys, kdx2i.metrics.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_refuse_unknown_keys_and_unpinned_weights() -> None:
    with pytest.raises(ValueError, match="extra"):
        EvaluationSettings.model_validate({"extractors": "x"})
    with pytest.raises(ValueError, match="together"):
        EvaluationSettings.model_validate({"classifier": {"initial_weights": "x.pth"}})
    assert EvaluationSettings.model_validate(EvaluationSettings().model_dump()) == EvaluationSettings()


def test_scoring_folders_does_not_import_pytorchs_compiler() -> None:
    """Nor the libraries that bring it: that command starts cold, and together they take three seconds."""
    code = (
        "import torch\n"
        "import kdx2i.stages.folders\n"
        "from kdx2i.metrics.extractors.extractor import build_extractor\n"
        "from kdx2i.metrics.classifiers.probe import train_probe\n"
        "from kdx2i.training.determinism import make_deterministic\n"
        "make_deterministic()\n"
        "images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)\n"
        "build_extractor('efficientnet-lite0', input_size=32)(images)\n"
        "train_probe(torch.randn(6, 8), torch.arange(6) % 2, 2, 0.01, 5)\n"
    )
    assert_not_imported(code, "torch._dynamo", "torchvision", "torch_fidelity")


def test_scoring_folders_imports_no_plots_and_no_statistics_of_tables() -> None:
    assert_not_imported("import kdx2i.cli.score, kdx2i.stages.folders", "matplotlib", "scipy.stats", "pandas")
