"""What text, speech and label maps share: each condition belongs to one image, and all classes are scored together.

The classes of the test images need not be those of the training images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from kdx2i.data.conditions.reading import Conditions
from kdx2i.data.images import load_images
from kdx2i.data.rows import Row, Split
from kdx2i.metrics.embedded_set import EmbeddedSet
from kdx2i.metrics.images.real_images import RealImages
from kdx2i.metrics.runs import embed_generated
from kdx2i.metrics.scorer import Scorer
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan.specs import ControlsSpec, EvaluationSpec
from kdx2i.tasks.base import Requests
from kdx2i.training.distributed import shard
from kdx2i.training.precision import to_images

ConditionType = TypeVar("ConditionType")


@dataclass(frozen=True)
class PairedRequests(Generic[ConditionType]):
    """One image for each of some real images' conditions.

    `images` int64 [N] are the indices of these real images; `given` turns indices and draws into a condition;
    `draws` [N] in [0, 1) choose among several conditions of an image, `references` [N] are indices of training
    images.
    """

    task: "PairedTask[ConditionType]"
    images: Tensor
    draws: Tensor
    references: Tensor | None

    @property
    def labels(self) -> Tensor:
        """The class indices int64 [N] of the images that the conditions belong to."""
        return self.task.real.labels[self.images]

    def condition(self, part: slice, device: torch.device) -> ConditionType:
        """Return the condition of some of the requests, on a device."""
        references = None
        if self.references is not None:
            references = to_images(self.task.real.images[self.references[part]], device)
        return self.task.given(self.images[part], self.draws[part], references, device)

    def pictures(self, chosen: Tensor) -> list[Tensor]:
        """Return the images that the conditions belong to, and what else can be shown of a condition."""
        return [self.task.real.images[self.images[chosen]], *self.task.shown(self.images[chosen])]


@dataclass(frozen=True)
class PairedImages(Generic[ConditionType]):
    """Training images with their conditions, drawn uniformly with replacement by torch's global generator."""

    task: "PairedTask[ConditionType]"
    device: torch.device

    @cached_property
    def _training(self) -> Tensor:
        return torch.nonzero(~self.task.real.is_test).flatten()

    def draw(self, batch: int) -> tuple[Tensor, ConditionType]:
        """Draw images [B, 3, R, R] in [-1, 1] and their conditions; each process gets its share of a joint batch."""
        index = self._training[torch.randint(len(self._training), (batch,))]
        draws = torch.rand(batch)
        index, draws = shard(index), shard(draws)
        images = to_images(self.task.real.images[index], self.device)
        return images, self.task.given(index, draws, None, self.device)


class PairedTask(Generic[ConditionType]):
    """The base of these tasks: a subclass says what is given."""

    def __init__(self, split: Split, resolution: int) -> None:
        self.split, self.resolution = split, resolution

    def given(self, images: Tensor, draws: Tensor, references: Tensor | None, device: torch.device) -> ConditionType:
        """Return the condition of real images: indices int64 [B], draws [B] in [0, 1) that choose among several."""
        raise NotImplementedError

    def shown(self, images: Tensor) -> list[Tensor]:
        """Return further pictures of conditions for a grid, rows of uint8 [M, 3, R, R]: none."""
        return []

    @property
    def classes(self) -> list[str]:
        """The names of the classes of both roles, in the order of the labels."""
        return self.split.classes

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of the split in the order of the real images: training, then test."""
        return [*self.split.select("train"), *self.split.select("test")]

    @cached_property
    def real(self) -> RealImages:
        """The real images of both roles."""
        train, test = (load_images(self.split, role, self.resolution) for role in ("train", "test"))
        return RealImages.from_parts(train, test)

    @cached_property
    def conditions(self) -> Conditions:
        """The condition files of the split."""
        return Conditions(self.split)

    def training_data(self, device: torch.device) -> PairedImages[ConditionType]:
        """Return the training images with their conditions."""
        return PairedImages(self, device)

    def requests(self, spec: EvaluationSpec, settings: EvaluationSettings) -> PairedRequests[ConditionType]:
        """Ask for one image for each test image, from one of its conditions (protocol entry `paired-requests`)."""
        generator = torch.Generator().manual_seed(settings.seed)
        images = torch.nonzero(self.real.is_test).flatten().repeat_interleave(settings.conditions_per_image)
        references = None
        if spec.guidance == "reference":
            training = torch.nonzero(~self.real.is_test).flatten()
            references = training[torch.randint(len(training), (len(images),), generator=generator)]
        return PairedRequests(self, images, torch.rand(len(images), generator=generator), references)

    def scorer(self, scorer: Scorer, spec: EvaluationSpec, requests: Requests) -> Scorer:
        """Return the scorer itself: all requests are compared with the pooled real images."""
        return scorer

    def completed(
        self, generated: EmbeddedSet, requests: Any, answer: Callable[[Any], Tensor], settings: EvaluationSettings
    ) -> EmbeddedSet:
        """Return the generated images as they are."""
        return generated

    def controls(self, scorer: Scorer, spec: ControlsSpec) -> dict[str, Any]:
        """Return the control rows: one half of the real images against the other, and noise."""
        settings, metrics = scorer.settings, list(spec.metrics)
        streams = [torch.Generator().manual_seed(1_000_003 * settings.seed + number) for number in (0, 2)]
        pooled = self._pooled_indices(settings)
        first, second = pooled[torch.randperm(len(pooled), generator=streams[0])].chunk(2)
        shape = (len(pooled), *self.real.images.shape[1:])
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=streams[1])
        noise = embed_generated(scorer, pixels, self.real.labels[pooled])
        halved = scorer.against(scorer.real.where(second))
        values = {
            "real_vs_real": halved.score(self.with_conditions(scorer.real.where(first), first), metrics),
            **self.further_controls(halved, scorer.real.where(first), first, metrics, streams[0]),
            "noise": scorer.score(self.with_conditions(noise, pooled), metrics),
        }
        return {"values": values, "directions": {}}

    def further_controls(
        self, scorer: Scorer, images: EmbeddedSet, given: Tensor, metrics: Sequence[str], generator: torch.Generator
    ) -> dict[str, Any]:
        """Return the control rows that only this task has, of real images with their indices [N]: none."""
        return {}

    def with_conditions(self, images: EmbeddedSet, given: Tensor) -> EmbeddedSet:
        """Return images with the conditions of real images (indices [N]) where a metric needs them: unchanged."""
        return images

    def _pooled_indices(self, settings: EvaluationSettings) -> Tensor:
        """Return the indices of the pooled real set."""
        return torch.nonzero(self.real.mask(settings.pooled_real_set)).flatten()
