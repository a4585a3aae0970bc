"""Text, speech and label maps: one image for each test image's condition, all classes scored together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from kdx2i.metric_catalogue import METRICS, Need
from kdx2i.metrics.embedded_set import Answers, EmbeddedSet, GivenConditions
from kdx2i.metrics.entries import Entry
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.runs import embed_generated
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan.specs import ControlsSpec, EvaluationSpec
from kdx2i.tasks.paired import ConditionType, PairedTask
from kdx2i.tasks.scoring.translation_controls import blank_image
from kdx2i.training.precision import to_images

TaskType = TypeVar("TaskType", bound=PairedTask[Any])

TRAINING_CONDITIONS = 100
"""Conditions of training images that a generator is asked with beside those of test images: R-precision's pool."""


@dataclass(frozen=True)
class PairedRequests(Generic[ConditionType]):
    """One image for each of some real images' conditions.

    `images` int64 [N] are the indices of these real images; `draws` [N] in [0, 1) choose among several conditions of
    an image; `references` int64 [N] are indices of training images.
    """

    task: PairedTask[ConditionType]
    labels: Tensor
    images: Tensor
    draws: Tensor
    references: Tensor | None

    def condition(self, part: slice, device: torch.device) -> ConditionType:
        """Return the condition of some of the requests, on a device."""
        images, draws = self.images[part], self.draws[part]
        if self.references is None:
            return self.task.given(images, draws, None, device)
        chosen = self.references[part]
        given = self.task.given(images, draws, to_images(self.task.images[chosen], device), device)
        return self.task.with_references(given, chosen, device)

    def pictures(self, chosen: Tensor) -> list[Tensor]:
        """Return the images int64 [M] that the conditions belong to, and what can be shown of the conditions."""
        index = self.images[chosen]
        return [self.task.images[index], *self.task.shown(index)]


class TaskScoring(Generic[TaskType]):
    """The scoring of text and speech, and the base of that of label maps."""

    def __init__(self, task: TaskType) -> None:
        self.task = task

    @cached_property
    def real(self) -> RealImages:
        """The real images of both roles."""
        number = {name: index for index, name in enumerate(self.task.classes)}
        labels = torch.tensor([number[row.label] for row in self.task.rows])
        return RealImages(self.task.images, labels, self.task.is_test)

    def requests(self, spec: EvaluationSpec, settings: EvaluationSettings) -> PairedRequests[Any]:
        """Ask for one image for each test image, from one of its conditions (protocol entry paired-requests)."""
        generator = torch.Generator().manual_seed(settings.seed)
        images = self._asked_for(settings)
        references = None
        if spec.guidance == "reference":
            training = torch.nonzero(~self.real.is_test).flatten()
            references = training[torch.randint(len(training), (len(images),), generator=generator)]
        draws = torch.rand(len(images), generator=generator)
        return PairedRequests(self.task, self.real.labels[images], images, draws, references)

    def _asked_for(self, settings: EvaluationSettings) -> Tensor:
        """Return the test images int64 [N] whose conditions are asked for, each as often as the settings say."""
        return torch.nonzero(self.real.is_test).flatten().repeat_interleave(settings.conditions_per_image)

    def scorer(self, scorer: Scorer, spec: EvaluationSpec, requests: Any) -> Scorer:
        """Return the scorer itself: all requests are compared with the pooled real images."""
        return scorer

    def completed(
        self, generated: EmbeddedSet, requests: Any, answer: Callable[[Any], Tensor], settings: EvaluationSettings
    ) -> EmbeddedSet:
        """Return the generated images with the conditions that they were asked to follow, where metrics need them.

        Those from conditions of training are made when a metric asks for them, after all others.
        """
        training, draws = self._training(settings)

        def answers() -> Answers:
            asked = PairedRequests(self.task, self.real.labels[training], training, draws, None)
            return Answers(answer(asked), self._given(training, draws))

        completed = self.with_conditions(generated, requests.images, requests.draws)
        return replace(completed, training_answers=answers)

    def _training(self, settings: EvaluationSettings) -> tuple[Tensor, Tensor]:
        """Return some training images int64 [N], and draws [N] in [0, 1) among the conditions of each."""
        generator = torch.Generator().manual_seed(1_000_003 * settings.seed + 4)
        images = torch.nonzero(~self.real.is_test).flatten()
        images = images[torch.randperm(len(images), generator=generator)[:TRAINING_CONDITIONS]]
        return images, torch.rand(len(images), generator=generator)

    def controls(self, scorer: Scorer, spec: ControlsSpec) -> dict[str, Any]:
        """Return the control rows: one half of the pooled real images against the other, blank images, and noise.

        What asks an encoder is computed of as many images as a run is asked for, by the same conditions.
        """
        settings = scorer.settings
        metrics = [name for name in spec.metrics if Need.ENCODER not in METRICS[name].needs]
        streams = [torch.Generator().manual_seed(1_000_003 * settings.seed + number) for number in (0, 2)]
        pooled = torch.nonzero(self.real.mask(settings.pooled_real_set)).flatten()
        first, second = pooled[torch.randperm(len(pooled), generator=streams[0])].chunk(2)
        shape = (len(pooled), *self.real.images.shape[1:])
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=streams[1])
        noise = embed_generated(scorer, pixels, self.real.labels[pooled])
        blank = embed_generated(scorer, blank_image(scorer).expand(shape), self.real.labels[pooled])
        halved, images = scorer.against(scorer.real.where(second)), scorer.real.where(first)
        values = {
            "real_vs_real": halved.score(self.with_conditions(images, first), metrics),
            **self.further_controls(halved, images, first, metrics, streams[0]),
            "blank": scorer.score(self.with_conditions(blank, pooled), metrics),
            "noise": scorer.score(self.with_conditions(noise, pooled), metrics),
        }
        asking = [name for name in spec.metrics if name not in metrics]
        if asking:
            for name, entries in self._asked_controls(scorer, asking, blank, noise).items():
                values[name] |= entries
        ordered = {name: {metric: row[metric] for metric in spec.metrics} for name, row in values.items()}
        return {"values": ordered, "directions": {}}

    def _asked_controls(
        self, scorer: Scorer, metrics: Sequence[str], blank: EmbeddedSet, noise: EmbeddedSet
    ) -> dict[str, dict[str, Entry]]:
        """Return the control rows of metrics that ask an encoder, with the conditions that every run is given."""
        settings, asked = scorer.settings, self._asked_for(scorer.settings)
        draws = torch.rand(len(asked), generator=torch.Generator().manual_seed(settings.seed))
        stream = torch.Generator().manual_seed(1_000_003 * settings.seed + 3)
        others = torch.randperm(len(asked), generator=stream)
        real = scorer.real.where(asked)
        numbers = torch.arange(len(asked))
        training, training_draws = self._training(settings)
        seen = Answers(self.real.images[training], self._given(training, training_draws))
        rows = {
            "real_vs_real": replace(self.with_conditions(real, asked, draws), training_answers=lambda: seen),
            "conditions_shuffled": self.with_conditions(real, asked[others], draws[others]),
            "blank": self.with_conditions(blank.where(numbers % len(blank)), asked, draws),
            "noise": self.with_conditions(noise.where(numbers % len(noise)), asked, draws),
        }
        return {name: scorer.score(images, metrics) for name, images in rows.items()}

    def further_controls(
        self, scorer: Scorer, images: EmbeddedSet, given: Tensor, metrics: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Return the control rows of real images with the conditions of others, of real ones with indices int64 [N].

        No metric here reads the conditions, so that the row repeats that of the images.
        """
        return {"conditions_shuffled": scorer.score(images, metrics)}

    def with_conditions(self, images: EmbeddedSet, given: Tensor, draws: Tensor | None = None) -> EmbeddedSet:
        """Return images with the conditions of real images (indices int64 [N]) where a metric needs them.

        `draws` [N] in [0, 1) choose among several of an image; without them there are none.
        """
        if draws is None:
            return images
        return replace(images, conditions=self._given(given, draws))

    def _given(self, images: Tensor, draws: Tensor) -> GivenConditions:
        """Return the conditions of real images (indices int64 [N]) that draws [N] in [0, 1) choose."""

        def of(index: Tensor) -> Any:
            return self.task.given(images[index], draws[index], None, torch.device("cpu"))

        return GivenConditions(of, images)
