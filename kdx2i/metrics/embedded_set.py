"""Labelled images with their features: one side of every comparison, in memory or streamed from files."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kdx2i.errors import UserError
from kdx2i.metrics.images.embedding import Embedding
from kdx2i.metrics.images.stored_matrix import StoredMatrix
from kdx2i.metrics.images.streams import Images, SelectedImages, TensorImages


@dataclass(frozen=True)
class LabelMaps:
    """The label maps that images were made from: integers (N, h, w), numbered like `names`.

    Without `names` they are numbered like the segmenter's own classes.
    """

    maps: Tensor
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class GivenConditions:
    """The conditions that images were made from: `of` returns those of some images, int64 [M], by their place.

    `sources` int64 (N,) are numbers of the real images that they belong to; one may have several, all as many.
    """

    of: Callable[[Tensor], Any]
    sources: Tensor


@dataclass(frozen=True)
class Answers:
    """Images uint8 (N, 3, H, W) with the conditions that they were made from."""

    pixels: Tensor
    conditions: GivenConditions


@dataclass(frozen=True)
class EmbeddedSet:
    """Images with class indices int64 (N,) and float32 features (N, d), all on the CPU.

    `logits` float32 (N, K) where the extractor is a classifier. What few metrics need is made when it is asked for:
    `outputs`, of each of some sources several outputs uint8 (K, 3, H, W), `label_maps`, one an image, `conditions`, and
    `training_answers`, further images of the same generator from conditions of its training.
    """

    images: Images
    labels: Tensor
    features: Tensor | StoredMatrix
    logits: Tensor | StoredMatrix | None = None
    outputs: Iterable[Tensor] | None = None
    label_maps: Callable[[], LabelMaps] | None = None
    conditions: GivenConditions | None = None
    training_answers: Callable[[], Answers] | None = None

    @classmethod
    def of(cls, images: Images, labels: Tensor, embedding: Embedding) -> "EmbeddedSet":
        """Return images with their labels (N,) and embedding; matrices in files stay there."""
        return cls(images, labels, embedding.features, embedding.logits)

    def __len__(self) -> int:
        return len(self.labels)

    def in_memory(self) -> "EmbeddedSet":
        """Return the set with its features and logits as tensors."""
        logits = None if self.logits is None else _tensor(self.logits)
        return replace(self, features=_tensor(self.features), logits=logits)

    def where(self, index: Tensor) -> "EmbeddedSet":
        """Return the images that a boolean mask (N,) or an index (M,) selects, without what few metrics need."""
        if isinstance(self.images, TensorImages):
            images: Images = self.images.where(index)
        else:
            images = SelectedImages(self.images, index)
        logits = None if self.logits is None else _rows(self.logits, index)
        return EmbeddedSet(images, self.labels[index], _rows(self.features, index), logits)

    def counts(self, classes: int) -> list[int]:
        """Return the number of images of each class."""
        counts: list[int] = torch.bincount(self.labels, minlength=classes).tolist()
        return counts

    def feature_tensor(self) -> Tensor:
        """Return all features float32 (N, d) in memory."""
        return _tensor(self.features)

    def pixels(self) -> Tensor:
        """Return all images in one tensor, uint8 (N, 3, H, W); `UserError` for images of different sizes."""
        if isinstance(self.images, TensorImages):
            return self.images.pixels()
        images = [image for _, block in self.images.blocks(64) for image in block]
        if len({image.shape for image in images}) > 1:
            raise UserError("the images have different sizes, and the metric needs one size")
        return torch.stack(images) if images else torch.zeros(0, 3, 1, 1, dtype=torch.uint8)


def _tensor(matrix: Tensor | StoredMatrix) -> Tensor:
    """Return a matrix in memory."""
    return matrix[0 : len(matrix)] if isinstance(matrix, StoredMatrix) else matrix


def _rows(matrix: Tensor | StoredMatrix, index: Tensor) -> Tensor:
    """Return the rows that a mask or an index selects."""
    return matrix.take(index) if isinstance(matrix, StoredMatrix) else matrix[index]
