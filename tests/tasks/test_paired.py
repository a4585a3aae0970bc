"""Text, speech and label maps on small splits with real condition files: what is asked, given, trained on, scored."""

import hashlib
import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kdx2i.config import DatasetConfig
from kdx2i.data import readers
from kdx2i.data.conditions.formats import RATE
from kdx2i.data.conditions.synthesiser import Synthesiser, voice_of
from kdx2i.data.decode import png_bytes
from kdx2i.data.reader import Entry, Item
from kdx2i.data.rows import Split
from kdx2i.data.split import make_split
from kdx2i.metrics.extractors.extractor import Extractor
from kdx2i.metrics.runs import embed_generated, run_scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan.specs import ControlsSpec, EvaluationSpec
from kdx2i.tasks.conditions import CaptionCondition, LabelMapCondition, SpeechCondition
from kdx2i.tasks.facts import TASKS
from kdx2i.tasks.opening import open_task
from kdx2i.tasks.scoring.base import open_scoring
from kdx2i.training import distributed
from kdx2i.training.precision import to_images

Name = Literal["text", "speech", "label-map"]
NAMES: tuple[Name, ...] = ("text", "speech", "label-map")
LABELS = ("ground", "leaf", "stem")
SIZE, EACH = 32, 4
CPU = torch.device("cpu")
SETTINGS = EvaluationSettings(extractor="tests-random", conditions_per_image=3, seed=5)


def label_map(number: int) -> np.ndarray[Any, Any]:
    """Return blocks of labels, uint8 (32, 32): the left half is the same for all images, the right half random."""
    blocks = np.random.default_rng(number).integers(0, 3, (8, 8)).astype(np.uint8)
    blocks[:, :4] = np.arange(8)[:, None] % 3
    return np.kron(blocks, np.ones((4, 4), np.uint8))


class Painted:
    """Reader of roses and daisies to train on and lilies to test on: each label is a grey level, red the number."""

    def __init__(self, dataset: object, assets_root: object) -> None:
        roles = {"rose": "train", "daisy": "train", "lily": "test"}
        names = [(label, f"{label}{number}", role) for label, role in roles.items() for number in range(EACH)]
        self._entries = [Entry(label, name, name, "", role) for label, name, role in names]

    def entries(self) -> list[Entry]:
        return self._entries

    def items(self, wanted: object) -> Any:
        for number, entry in enumerate(self._entries):
            labels = label_map(number)
            pixels = np.repeat(100 * labels[..., None], 3, 2)
            pixels[..., 0] = 10 * number
            image = Image.fromarray(pixels)
            captions = ("a flower", f"number {number}")
            digest = hashlib.sha256(entry.source.encode()).hexdigest()
            yield Item(entry, digest, image, png_bytes(image), ".png", captions, labels)


class GreySegmenter:
    """A segmenter that reads the grey level of a painted image."""

    name, sha256, classes = "grey", "0" * 64, LABELS

    def segment(self, images: Tensor) -> Tensor:
        return images[:, 2].div(100).round().clamp(0, 2).to(torch.uint8)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Return a split with captions, utterances and label maps, its classes apart."""
    folder = tmp_path_factory.mktemp("painted")
    dataset = DatasetConfig.model_validate(
        {
            "name": "painted", "title": "Painted", "licence": "CC0-1.0", "reader": "painted", "task": "speech",
            "source": {"kind": "embedded", "files": {"archive": {"path": "none", "sha256": None}}},
            "conditions": ["captions", "speech", "label-maps"], "labels": list(LABELS),
            "split": {"rule": "manifest", "disjoint": True},
        }
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(readers.READERS, "painted", Painted)
        make_split(dataset, folder, folder / "painted", progress=False)
    return Split(folder / "painted")


def spec(guidance: str) -> EvaluationSpec:
    """Return a spec of which a task reads the guidance alone."""
    return EvaluationSpec.model_construct(guidance=guidance, direction=None)


def requests(name: Name, split: Split, settings: EvaluationSettings = SETTINGS, guidance: str | None = None) -> Any:
    """Return what an evaluation asks for, by default in the task's first mode."""
    return open_scoring(name, split, SIZE).requests(spec(guidance or TASKS[name].modes[0]), settings)


def number_of(image: Tensor) -> int:
    """Return the number of a painted image uint8 (3, R, R)."""
    return int(image[0].float().mean().div(10).round())


def source_of(number: int) -> str:
    """Return the source of the image of a number."""
    return f"{('rose', 'daisy', 'lily')[number // EACH]}{number % EACH}"


def check_given(condition: Any, numbers: list[int]) -> None:
    """Assert that a condition holds the content of the files of these images, in this order."""
    if isinstance(condition, CaptionCondition):
        assert len(condition.captions) == len(numbers)
        for caption, number in zip(condition.captions, numbers, strict=True):
            assert caption in ("a flower", f"number {number}")
    elif isinstance(condition, SpeechCondition):
        assert condition.rate == RATE and len(condition.waveforms) == len(numbers)
        for waveform, number in zip(condition.waveforms, numbers, strict=True):
            said = [Synthesiser().say(text, voice_of(source_of(number))) for text in ("a flower", f"number {number}")]
            assert waveform.dtype == torch.float32
            assert any(np.array_equal((waveform * 32768).numpy(), utterance) for utterance in said)
    else:
        assert isinstance(condition, LabelMapCondition) and condition.labels == LABELS
        assert np.array_equal(condition.maps.numpy(), np.stack([label_map(number) for number in numbers]))


@pytest.mark.parametrize("name", NAMES)
def test_each_test_image_is_asked_for_as_often_as_the_settings_say(name: Name, split: Split) -> None:
    asked = requests(name, split)
    real = open_scoring(name, split, SIZE).real
    assert asked.images.tolist() == [i for i in torch.nonzero(real.is_test).flatten().tolist() for _ in range(3)]
    # The test class has no training image: classes are apart.
    lily = split.classes.index("lily")
    assert set(asked.labels.tolist()) == {lily} and lily not in real.labels[~real.is_test].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_requests_follow_from_the_seed_alone(name: Name, split: Split) -> None:
    state = torch.get_rng_state()
    first, again = requests(name, split), requests(name, split)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.images, again.images) and torch.equal(first.draws, again.draws)
    reseeded = requests(name, split, SETTINGS.model_copy(update={"seed": 6}))
    assert torch.equal(first.images, reseeded.images) and not torch.equal(first.draws, reseeded.draws)


def test_references_are_training_images(split: Split) -> None:
    asked = requests("label-map", split, SETTINGS.model_copy(update={"conditions_per_image": 20}), "reference")
    assert len(asked.references) == 20 * EACH and not asked.task.is_test[asked.references].any()
    assert len(asked.references.unique()) == 2 * EACH
    part = slice(3, 7)
    condition = asked.condition(part, CPU)
    assert torch.equal(condition.references, to_images(asked.task.images[asked.references[part]], CPU))
    numbers = [number_of(image) for image in asked.task.images[asked.references[part]]]
    assert np.array_equal(condition.reference_maps.numpy(), np.stack([label_map(number) for number in numbers]))
    assert requests("label-map", split).condition(part, CPU).references is None


@pytest.mark.parametrize("name", NAMES)
def test_a_request_hands_over_the_condition_of_its_own_image(name: Name, split: Split) -> None:
    asked = requests(name, split)
    numbers = [number_of(image) for image in asked.task.images[asked.images]]
    check_given(asked.condition(slice(0, 5), CPU), numbers[:5])
    check_given(asked.condition(slice(5, 12), CPU), numbers[5:])
    images, *further = asked.pictures(torch.tensor([4, 0]))
    assert [number_of(image) for image in images] == [numbers[4], numbers[0]]
    assert [picture.shape for picture in further] == ([(2, 3, SIZE, SIZE)] if name == "label-map" else [])


def test_several_captions_of_an_image_are_all_used(split: Split) -> None:
    asked = requests("text", split, SETTINGS.model_copy(update={"conditions_per_image": 20}))
    assert len(set(asked.condition(slice(0, 20), CPU).captions)) == 2


@pytest.mark.parametrize("name", NAMES)
def test_training_images_come_with_their_own_conditions(name: Name, split: Split) -> None:
    data = open_task(name, split, SIZE).training_data(CPU)
    images, condition = data.draw(12)
    numbers = [number_of((image + 1) * 127.5) for image in images]
    assert images.shape == (12, 3, SIZE, SIZE) and max(numbers) < 2 * EACH and len(set(numbers)) > 2
    check_given(condition, numbers)


@pytest.mark.parametrize("name", NAMES)
def test_ranks_share_a_joint_batch(name: Name, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_task(name, split, SIZE).training_data(CPU)
    torch.manual_seed(3)
    whole, _ = data.draw(6)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        torch.manual_seed(3)
        images, condition = data.draw(6)
        assert torch.equal(images, whole[3 * rank : 3 * rank + 3])
        check_given(condition, [number_of((image + 1) * 127.5) for image in images])


def test_condition_files_are_read_once_while_they_fit(split: Split) -> None:
    task: Any = open_task("text", split, SIZE)
    index, draws = torch.arange(3), torch.zeros(3)
    first = task.given(index, draws, None, CPU)
    file = split.dataset_dir / "conditions" / "captions" / task.rows[0].image.split("/", 1)[1]
    file = file.with_suffix(".txt")
    content = file.read_bytes()
    file.unlink()
    try:
        assert task.given(index, draws, None, CPU) == first
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("name", NAMES)
def test_controls_have_values_for_what_the_task_provides(name: Name, split: Split, extractor: Extractor) -> None:
    scoring = open_scoring(name, split, SIZE)
    settings = SETTINGS.model_copy(update={"pooled_real_set": "all"})
    classes = scoring.task.classes
    scorer = run_scorer(scoring.real, classes, settings, extractor=extractor, segmenter=GreySegmenter)
    metrics = dict.fromkeys(["FID", "KIDx100", *(["mIoU"] if name == "label-map" else [])], "")
    controls = scoring.controls(scorer, ControlsSpec.model_construct(metrics=metrics, directions={}))
    values = controls["values"]
    assert set(values) == set(TASKS[name].controls) and controls["directions"] == {}
    for row in values.values():
        assert list(row) == list(metrics) and all(math.isfinite(entry["value"]) for entry in row.values())
    assert values["real_vs_real"]["FID"]["value"] < values["noise"]["FID"]["value"]
    assert values["blank"]["KIDx100"]["value"] > values["real_vs_real"]["KIDx100"]["value"]
    if name == "label-map":
        rows = ("real_vs_real", "blurred", "maps_shuffled", "noise")
        own, blurred, shuffled, noise = (values[row]["mIoU"]["value"] for row in rows)
        assert own == pytest.approx(100.0) and own > blurred > shuffled > noise


class Reader:
    """An encoder that reads the number of a painted image and that of a caption; a caption without one fits all."""

    def agreement(self, images: Tensor, condition: CaptionCondition) -> Tensor:
        seen = [number_of((image + 1) * 127.5) for image in images]
        told = [caption.removeprefix("number ") for caption in condition.captions]
        return torch.tensor([[0.5 if said == "a flower" else float(said == str(n)) for said in told] for n in seen])


def test_controls_of_condition_fidelity_have_the_pools_of_the_runs(split: Split, extractor: Extractor) -> None:
    scoring = open_scoring("text", split, SIZE)
    scorer = run_scorer(scoring.real, scoring.task.classes, SETTINGS, extractor=extractor, matcher=Reader)
    spec = ControlsSpec.model_construct(metrics=dict.fromkeys(["FID", "R-precision"], ""), directions={})
    rows = {name: row["R-precision"] for name, row in scoring.controls(scorer, spec)["values"].items()}
    assert {(row["candidates"], row["n_generated"], row["chance"]) for row in rows.values()} == {(4, 12, 25.0)}
    # Images of one colour are one image, whichever condition they stand for.
    assert rows["blank"]["value"] == pytest.approx(25.0)
    assert rows["real_vs_real"]["value"] > rows["real_vs_real"]["chance_95"]
    assert rows["conditions_shuffled"]["value"] < rows["real_vs_real"]["value"]

    asked = requests("text", split)
    images = scoring.task.images[asked.images]
    generated = embed_generated(scorer, images, asked.labels)
    further: list[Tensor] = []

    def answer(more: Any) -> Tensor:
        further.append(more.images)
        return scoring.task.images[more.images]

    completed = scoring.completed(generated, asked, answer, SETTINGS)
    assert further == [], "a metric asks for them"
    # A run that gives back the images of its captions scores what the real images score, of training images too.
    assert scorer.score(completed, ["R-precision"])["R-precision"] == rows["real_vs_real"]
    (training,) = further
    assert not scoring.real.is_test[training].any() and len(set(training.tolist())) == len(training)
    assert rows["real_vs_real"]["training"]["candidates"] == len(training)
    assert all("training" not in row for name, row in rows.items() if name != "real_vs_real")
