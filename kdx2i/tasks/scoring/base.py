"""What scoring asks of every task, and never which task it is."""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from kdx2i.config import TaskName
from kdx2i.data.images import pixel_store
from kdx2i.data.rows import Split
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan.specs import ControlsSpec, EvaluationSpec
from kdx2i.tasks.facts import TASKS
from kdx2i.tasks.opening import Task, open_task
from kdx2i.training.precision import to_pixels


class Requests(Protocol):
    """What an evaluation asks of a trained model: N images, each from its condition."""

    @property
    def labels(self) -> Tensor:
        """The class index int64 [N] of each image that is asked for."""

    def condition(self, part: slice, device: torch.device) -> Any:
        """Return the condition (`kdx2i.tasks.conditions`) of some of the requests, on a device."""

    def pictures(self, chosen: Tensor) -> list[Tensor]:
        """Return what stands above some images int64 [M] in a grid: rows of uint8 [M, 3, R, R]."""


class Generates(Protocol):
    """A method as an evaluation sees it."""

    def generate(self, condition: Any) -> Tensor:
        """Return images [B, 3, R, R] in [-1, 1]."""


class Scoring(Protocol):
    """How a task that is opened on a split is asked and scored."""

    task: Task

    @property
    def real(self) -> RealImages:
        """The real images of both roles."""

    def requests(self, spec: EvaluationSpec, settings: EvaluationSettings) -> Requests:
        """Return what an evaluation asks for: one deterministic list for every method and mode."""

    def scorer(self, scorer: Scorer, spec: EvaluationSpec, requests: Any) -> Scorer:
        """Return the scorer of the real images that the answers to these requests are compared with."""

    def completed(
        self, generated: EmbeddedSet, requests: Any, answer: Callable[[Any], Tensor], settings: EvaluationSettings
    ) -> EmbeddedSet:
        """Return generated images with what some metrics need beside them: several outputs a source, label maps.

        `answer` generates the images of further requests, uint8 [N, 3, R, R].
        """

    def controls(self, scorer: Scorer, spec: ControlsSpec) -> dict[str, Any]:
        """Return the control rows: {"values": {control: {metric: entry}}, "directions": {direction: the same}}."""


def open_scoring(name: TaskName, split: Split, resolution: int) -> Scoring:
    """Return the scoring of a task, opened on the images of a split at `resolution` px."""
    scoring: Scoring = importlib.import_module(TASKS[name].scoring).TaskScoring(open_task(name, split, resolution))
    return scoring


def generate(method: Generates, requests: Requests, batch: int, device: torch.device) -> Tensor:
    """Return the images of all requests, uint8 [N, 3, R, R]."""
    images: Tensor | None = None
    for start in range(0, len(requests.labels), batch):
        part = slice(start, start + batch)
        made = to_pixels(method.generate(requests.condition(part, device)))
        if images is None:
            images = pixel_store((len(requests.labels), *made.shape[1:]))
        images[part] = made
    assert images is not None, "at least one image is asked for"
    return images
