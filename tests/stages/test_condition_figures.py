"""Figures of text, speech and label maps against direct computations: what is asked, what is shown beside it."""

from types import SimpleNamespace
from typing import Any

import conditional_tiny as ct
import pytest
import tiny
import torch
from pydantic import ValidationError
from repository import ROOT, settings_copy
from safetensors.torch import load_file

from kdx2i.config.figures import FigureConfig
from kdx2i.distill.transfers import TRANSFERS
from kdx2i.methods.conditional_settings import X2IDistillSettings
from kdx2i.plan.specs import DistillSpec
from kdx2i.stages import students
from kdx2i.stages.figure import draw
from kdx2i.stages.figure_conditions import _captions, _given, _requests, draw_pairs
from kdx2i.stages.training_outputs import network_tensors
from kdx2i.suite import make_plan
from kdx2i.tasks.conditions import CaptionCondition, LabelMapCondition, SpeechCondition
from kdx2i.training.checkpoint import save_tensors
from kdx2i.training.determinism import derive_seed
from kdx2i.training.loop import LoopSettings, train
from kdx2i.training.precision import to_pixels

ROWS = 3


def spec(transfer: str) -> DistillSpec:
    return DistillSpec(
        architecture="toy", transfer=transfer, resolution=16, seed=5, networks={}, distillation="x2i",
        transfer_settings=TRANSFERS[transfer].first_stage(), teacher="random", teacher_file="teacher", distill={},
    )  # fmt: skip


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """Return the leaf of a figure of two students, with and without eq. (7), each after three updates."""
    settings = X2IDistillSettings(**ct.DEFAULTS, learning_rate=1e-2)
    monkeypatch.setattr(students, "build_student", lambda *_: (ct.Student({4: 6, 8: 6, 16: 3}), settings))
    monkeypatch.setattr(students, "load_teacher", lambda path: tiny.teacher(16))
    inputs = {}
    for number, transfer in enumerate(("kd", "kd-no-diversity")):
        distillation, _ = students.open_distillation(tmp_path, spec(transfer), tiny.CPU)
        train(distillation, LoopSettings(3, 0), tmp_path / transfer, "x")
        kept = students.kept_networks(distillation)
        path = tmp_path / f"{transfer}.safetensors"
        save_tensors(path, network_tensors(kept), {})
        inputs[f"method{number}"] = SimpleNamespace(spec=spec(transfer), file=lambda _, path=path: path)
    methods = [SimpleNamespace(label=label, input=f"method{i}", resolution=16) for i, label in enumerate(("a", "b"))]
    figure = SimpleNamespace(seed=3, name="figure9", rows=ROWS)
    return SimpleNamespace(spec=SimpleNamespace(figure=figure, methods=methods), inputs=inputs)


def test_triplets_are_what_each_student_makes_of_both_conditions(pairs: Any, tmp_path: Any) -> None:
    plan: Any = SimpleNamespace(root=tmp_path)
    columns, rows, grid = draw_pairs(plan, pairs, tiny.CPU)
    assert columns == ["x1 (teacher)", "a, c_x", "a, c_y", "x1 (teacher)", "b, c_x", "b, c_y"] and len(rows) == ROWS
    for place, transfer in ((0, "kd"), (3, "kd-no-diversity")):
        distillation, _ = students.open_distillation(tmp_path, spec(transfer), tiny.CPU)
        leaf = pairs.inputs[f"method{place // 3}"]
        students.put_into(distillation, students_tensors(leaf), tmp_path)
        torch.manual_seed(derive_seed(3, "figure", "figure9"))
        drawn = distillation.draw(ROWS, share=False)
        z = torch.randn(ROWS, ct.NOISE)
        networks = {**distillation.networks, **distillation.averages}
        with torch.no_grad():
            first = networks["first"](drawn.features_x[distillation.settings.first_resolution])
            for side, images in ((1, drawn.x1), (2, drawn.y)):
                c = networks["conditions"](distillation.semantic_encoder(images))
                own, _ = networks["generator"](z, c, first)
                assert all(torch.equal(grid[i][place + side], to_pixels(own)[i]) for i in range(ROWS))
            assert all(torch.equal(grid[i][place], to_pixels(drawn.x1)[i]) for i in range(ROWS))
    # Both students are shown the same pairs, and are not the same.
    assert all(torch.equal(row[0], row[3]) and not torch.equal(row[1], row[4]) for row in grid)


def students_tensors(leaf: Any) -> Any:
    return load_file(leaf.file("student.safetensors"))


def test_pairs_drawn_twice_are_the_same_bytes(pairs: Any, tmp_path: Any) -> None:
    plan: Any = SimpleNamespace(root=tmp_path)
    made = [draw(*draw_pairs(plan, pairs, tiny.CPU)) for _ in range(2)]
    assert made[0] == made[1]


class Listed:
    """A task of four test images and two training images, whose conditions name them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 4, 4).contiguous()
        self.rows = [SimpleNamespace(image=str(i)) for i in range(6)]
        self.conditions = SimpleNamespace(captions=lambda row: [f"{row.image} first", f"{row.image} second"])

    def given(self, index: Any, draws: Any, references: Any, device: Any) -> Any:
        if self.kind == "text":
            return CaptionCondition(tuple(f"{i} caption" for i in index.tolist()))
        if self.kind == "speech":
            return SpeechCondition(tuple(torch.zeros(2) for _ in index), 22050)
        return LabelMapCondition(torch.zeros(len(index), 4, 4, dtype=torch.uint8), ("ground",), references)

    def with_references(self, given: Any, references: Any, device: Any) -> Any:
        return given

    def shown(self, index: Any) -> Any:
        return [self.images[index] + 100] if self.kind == "label-map" else []


def asked_of(kind: str, guidance: str) -> Any:
    task = Listed(kind)
    is_test = torch.tensor([False, False, True, True, True, True])
    labels = torch.tensor([0, 0, 1, 1, 2, 3])
    scoring: Any = SimpleNamespace(task=task, real=SimpleNamespace(images=task.images, labels=labels, is_test=is_test))
    figure = SimpleNamespace(seed=4, rows=3, guidance=guidance)
    return _requests(scoring, SimpleNamespace(figure=figure))  # type: ignore[arg-type]


def test_conditions_of_test_images_of_different_classes_stand_beside_their_images() -> None:
    asked = asked_of("text", "text")
    assert sorted(asked.labels.tolist()) == [1, 2, 3] and asked.references is None
    columns, shown = _given(asked)
    assert columns == ["real image"] and torch.equal(shown[0], asked.task.images[asked.images])
    written = [f"{n}: {i} caption" for n, i in enumerate(asked.images.tolist(), start=1)]
    assert _captions(asked, written=True) == written


def test_an_utterance_is_shown_as_the_caption_that_was_read() -> None:
    asked = asked_of("speech", "audio")
    said = zip(asked.images.tolist(), asked.draws.tolist(), strict=True)
    expected = [f"{n}: {i} {'first' if u < 0.5 else 'second'}" for n, (i, u) in enumerate(said, start=1)]
    assert _captions(asked, written=True) == expected
    assert _captions(asked, written=False) == []


def test_label_maps_and_references_stand_first() -> None:
    asked = asked_of("label-map", "reference")
    columns, (maps, references, real) = _given(asked)
    assert columns == ["label map", "reference", "real image"]
    assert torch.equal(maps, real + 100) and torch.equal(real, asked.task.images[asked.images])
    assert set(references[:, 0, 0, 0].tolist()) <= {0, 1}  # training images
    assert _captions(asked, written=True) == []


def test_figures_say_why_they_cannot_be_drawn(tmp_path: Any) -> None:
    plan = make_plan(settings_copy(tmp_path), "open")
    plans = {name: figure for name, figure in plan.figures.items() if figure.config.kind in ("conditions", "pairs")}
    expected = {f"figure4{letter}" for letter in "abcd"} | {f"figure{n}" for n in (5, 9, 10, 11, 12, 13, 14, 15)}
    assert set(plans) == expected
    for figure in plans.values():
        assert figure.leaf is not None or figure.reason


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "pairs", "dataset": "cub"}, "a figure of students or pairs has no `dataset`"),
        ({"kind": "pairs", "guidance": "text"}, "a figure of pairs has no `guidance`"),
        ({"kind": "conditions", "dataset": "cub"}, "a figure of pairs has no `guidance`, every other one needs it"),
    ],
)
def test_a_figure_that_contradicts_itself_is_refused(changes: dict[str, Any], sentence: str) -> None:
    method = {"label": "Ours", "architecture": "ssa_gan", "transfer": "kd", "resolution": 256}
    with pytest.raises(ValidationError, match=sentence):
        FigureConfig.model_validate({"name": "f", "title": "t", "caption": "c", "methods": [method], **changes})


def test_students_of_images_are_not_shown_as_pairs(tmp_path: Any) -> None:
    root = settings_copy(tmp_path)
    path = root / "benchmarks" / "figures" / "figure9.yaml"
    path.write_text(path.read_text().replace("ssa_gan", "stargan_v2"))
    figure = make_plan(root, "open").figures["figure9"]
    assert figure.reason == "stage 1 of the task image-to-image is not shown as pairs"
    assert make_plan(ROOT, "open").figures["figure7"].leaf is not None
