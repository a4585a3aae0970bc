"""Image to image: translations to every class, or in one direction, and their control rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kdx2i.data.images import load_roles
from kdx2i.errors import UserError
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan.specs import ControlsSpec, EvaluationSpec
from kdx2i.tasks.conditions import TranslationCondition
from kdx2i.tasks.opening import Task
from kdx2i.tasks.scoring.translation_controls import control_values, directed_controls
from kdx2i.tasks.scoring.translation_requests import Translations, draw_directed, draw_repeats, draw_requests
from kdx2i.training.precision import to_images


@dataclass(frozen=True)
class TranslationRequests:
    """Translations of real images to classes, in one guidance."""

    real: RealImages
    asked: Translations
    guidance: str

    @property
    def labels(self) -> Tensor:
        """The target classes int64 [N]."""
        return self.asked.targets

    def condition(self, part: slice, device: torch.device) -> TranslationCondition:
        """Return the condition of some of the requests; images are on the device."""
        some = self.asked.part(part)
        sources, references = (to_images(self.real.images[index], device) for index in (some.sources, some.references))
        return TranslationCondition(sources, some.targets, self.guidance, references)

    def pictures(self, chosen: Tensor) -> list[Tensor]:
        """Return the sources and the references of the requests `chosen`, int64 [M]."""
        return [self.real.images[self.asked.sources[chosen]], self.real.images[self.asked.references[chosen]]]


class TaskScoring:
    """The scoring of image-to-image translation."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @cached_property
    def real(self) -> RealImages:
        """The real images of both roles."""
        return RealImages(*load_roles(self.task.split, self.task.resolution))

    def requests(self, spec: EvaluationSpec, settings: EvaluationSettings) -> TranslationRequests:
        """Ask for images of every class, or for those of the one direction of `spec`."""
        labels, is_test = self.real.labels, self.real.is_test
        if spec.direction is None:
            asked = draw_requests(labels, is_test, len(self.task.classes), settings.images_per_class, settings.seed)
        else:
            pair = self.class_indices(spec.direction)
            asked = draw_directed(labels, is_test, *pair, settings.images_per_direction, settings.seed)
        return TranslationRequests(self.real, asked, spec.guidance)

    def class_indices(self, names: tuple[str, str]) -> tuple[int, int]:
        """Return the labels of a source and a target class; `UserError` for a class that the split does not have."""
        for name in names:
            if name not in self.task.classes:
                known = ", ".join(self.task.classes)
                raise UserError(f"{self.task.split.name} has no class `{name}` to translate; its classes are {known}")
        return self.task.classes.index(names[0]), self.task.classes.index(names[1])

    def scorer(self, scorer: Scorer, spec: EvaluationSpec, requests: TranslationRequests) -> Scorer:
        """Return the scorer of all classes, or that of the target class of a direction."""
        return scorer if spec.direction is None else scorer.directed(int(requests.labels[0]))

    def completed(
        self,
        generated: EmbeddedSet,
        requests: TranslationRequests,
        answer: Callable[[TranslationRequests], Tensor],
        settings: EvaluationSettings,
    ) -> EmbeddedSet:
        """Return the translations with several outputs of each of some sources, where diversity is asked for."""
        if settings.diversity is None:
            return generated
        return replace(generated, outputs=self._outputs(requests.guidance, answer, settings))

    def _outputs(
        self, guidance: str, answer: Callable[[TranslationRequests], Tensor], settings: EvaluationSettings
    ) -> Iterator[Tensor]:
        """Yield several outputs of each of some sources, uint8 (K, 3, R, R).

        They are generated when they are read, one source at a time: the paper's preset asks for 30,000 images.
        """
        diversity = settings.diversity
        assert diversity is not None
        counts = (len(self.task.classes), diversity.sources, diversity.outputs)
        repeats = draw_repeats(self.real.labels, self.real.is_test, *counts, settings.seed)
        for start in range(0, len(repeats.targets), diversity.outputs):
            part = repeats.part(slice(start, start + diversity.outputs))
            yield answer(TranslationRequests(self.real, part, guidance))

    def controls(self, scorer: Scorer, spec: ControlsSpec) -> dict[str, Any]:
        """Return the control rows of all classes together, and of each direction that a table asks for."""
        directed = list(spec.directed_metrics)
        directions = {
            name: directed_controls(scorer, directed, *self.class_indices(pair))
            for name, pair in spec.directions.items()
        }
        return {"values": control_values(scorer, list(spec.metrics)), "directions": directions}
