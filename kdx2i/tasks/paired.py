"""What text, speech and label maps share: each condition belongs to one image.

The classes of the test images need not be those of the training images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import torch
from torch import Tensor

from kdx2i.data.conditions.reading import Conditions
from kdx2i.data.images import load_roles
from kdx2i.data.rows import ImageRow, Split
from kdx2i.errors import UserError
from kdx2i.training.distributed import shard
from kdx2i.training.precision import to_images

ConditionType = TypeVar("ConditionType")


@dataclass(frozen=True)
class RelatedImages(Generic[ConditionType]):
    """Training images with their conditions and beside each two others, all uint8 [B, 3, R, R] on the CPU.

    `wrong` are of another class, most of them at least; `similar` are others of the same class, or the same image
    where it is the only one of its class.
    """

    images: Tensor
    wrong: Tensor
    similar: Tensor
    condition: ConditionType


@dataclass(frozen=True)
class PairedImages(Generic[ConditionType]):
    """Training images with their conditions, drawn uniformly with replacement by torch's global generator."""

    task: "PairedTask[ConditionType]"
    device: torch.device

    @cached_property
    def _training(self) -> Tensor:
        return torch.nonzero(~self.task.is_test).flatten()

    def draw(self, batch: int) -> tuple[Tensor, ConditionType]:
        """Draw images [B, 3, R, R] in [-1, 1] and their conditions; each process gets its share of a joint batch."""
        images, condition, _ = self.draw_labelled(batch)
        return images, condition

    def draw_labelled(self, batch: int) -> tuple[Tensor, ConditionType, Tensor]:
        """Draw as `draw` does, with the classes int64 [B] of the images in the order of `task.classes`."""
        index = self._training[torch.randint(len(self._training), (batch,))]
        draws = torch.rand(batch)
        index, draws = shard(index), shard(draws)
        images = to_images(self.task.images[index], self.device)
        return images, self.task.given(index, draws, None, self.device), self.task.labels[index].to(self.device)

    def draw_related(self, batch: int, *, always_other_class: bool = False) -> RelatedImages[ConditionType]:
        """Draw images with conditions, wrong images and similar ones, as S2IGAN does; each process gets its share.

        A wrong image is drawn from all, and once more where it has the class of its image; with `always_other_class`
        it is drawn from the other classes. `UserError` for that where all training images are of one class.
        """
        own, first, second = self._training[torch.randint(len(self._training), (3, batch))]
        draws, labels = torch.rand(batch), self.task.labels
        alike = labels[own][:, None] == labels[self._training][None, :]
        similar = self._one_of(alike & (own[:, None] != self._training[None, :]), own)
        wrong = torch.where(labels[first] == labels[own], second, first)
        if always_other_class:
            if bool(alike.all()):
                raise UserError("images of other classes are asked for, but all training images are of one class")
            wrong = self._one_of(~alike, own)
        condition = self.task.given(shard(own), shard(draws), None, self.device)
        images, others, same = (self.task.images[shard(chosen)] for chosen in (own, wrong, similar))
        return RelatedImages(images, others, same, condition)

    def conditions(self, most: int, batch: int = 64) -> Iterator[ConditionType]:
        """Give conditions of up to `most` of the images, spread over all, in batches; of several the middle one."""
        spread = torch.linspace(0, len(self._training) - 1, min(most, len(self._training))).long()
        for index in torch.split(self._training[spread], batch):
            yield self.task.given(index, torch.full((len(index),), 0.5), None, self.device)

    def _one_of(self, allowed: Tensor, otherwise: Tensor) -> Tensor:
        """Draw for each of B one of the training images of its row of `allowed` [B, N]; `otherwise` [B] without any."""
        places = torch.rand(allowed.shape).masked_fill(~allowed, -1.0).argmax(1)
        return torch.where(allowed.any(1), self._training[places], otherwise)


class PairedTask(Generic[ConditionType]):
    """The base of these tasks: a subclass says what is given.

    Images are counted in one order: the training images of the split, then its test images.
    """

    def __init__(self, split: Split, resolution: int) -> None:
        self.split, self.resolution = split, resolution

    def given(self, index: Tensor, draws: Tensor, references: Tensor | None, device: torch.device) -> ConditionType:
        """Return the condition of images int64 [B]; `draws` [B] in [0, 1) choose among several of an image."""
        raise NotImplementedError

    def with_references(self, given: ConditionType, references: Tensor, device: torch.device) -> ConditionType:
        """Return a condition with what it says of its reference images, indices int64 [B], beside them: unchanged."""
        return given

    def shown(self, index: Tensor) -> list[Tensor]:
        """Return pictures of the conditions of images int64 [M] for a grid, rows of uint8 [M, 3, R, R]: none."""
        return []

    @property
    def classes(self) -> list[str]:
        """The names of the classes of both roles, in the order of the labels."""
        return self.split.classes

    @cached_property
    def rows(self) -> list[ImageRow]:
        """The rows of the split in the order of the images."""
        return [*self.split.select("train"), *self.split.select("test")]

    @cached_property
    def is_test(self) -> Tensor:
        """Which images are test images, bool (N,)."""
        return torch.tensor([row.role == "test" for row in self.rows])

    @cached_property
    def labels(self) -> Tensor:
        """The classes of all images, int64 (N,), numbers of `classes`."""
        numbers = {label: number for number, label in enumerate(self.classes)}
        return torch.tensor([numbers[row.label] for row in self.rows])

    @cached_property
    def images(self) -> Tensor:
        """All images, uint8 (N, 3, R, R)."""
        return load_roles(self.split, self.resolution)[0]

    @cached_property
    def conditions(self) -> Conditions:
        """The condition files of the split."""
        return Conditions(self.split)

    def training_data(self, device: torch.device) -> PairedImages[ConditionType]:
        """Return the training images with their conditions."""
        return PairedImages(self, device)
