"""What a method is built from, and the protocols through which loop, distillation and evaluation drive it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from kdx2i.methods.settings import StrictSettings
from kdx2i.training.loop import Trainable

SettingsT = TypeVar("SettingsT", bound=StrictSettings)
OtherSettingsT = TypeVar("OtherSettingsT", bound=StrictSettings)
ConditionT = TypeVar("ConditionT", contravariant=True)

Features = dict[int, Tensor]
"""Features [B, C, r, r] by their resolution r."""


class I2IStudent(Protocol):
    """An image-to-image model with one domain, as stage 1 distils it.

    Images are [B, 3, R, R] in [-1, 1], styles [B, S], noise [B, Z] ~ N(0, I).
    """

    networks: Mapping[str, nn.Module]
    noise_dim: int
    resolution: int

    def with_networks(self, networks: Mapping[str, nn.Module]) -> "I2IStudent":
        """Return the same student on other networks, e.g. its averages."""

    def encode(self, x: Tensor) -> tuple[Tensor, Features]:
        """Return the content of an image and the features E_S(x)_l of eq. (1)."""

    def style_from_image(self, x: Tensor) -> tuple[Tensor, Features]:
        """Return the style of a reference image and the features E_R(x)_l of eq. (2)."""

    def style_from_noise(self, z: Tensor) -> Tensor:
        """Return the style of a noise vector (latent guidance)."""

    def decode(self, content: Tensor, style: Tensor) -> tuple[Tensor, Features]:
        """Return the image G_S(content, style) and the features G_S(...)_l of eq. (3)."""

    def discriminate(self, x: Tensor) -> Tensor:
        """Return the logits [B] of the student's discriminator D_S."""


@dataclass(frozen=True)
class MethodSetup(Generic[SettingsT]):
    """What a method of stage 2 is built from.

    It generates images of `resolution` px for `num_classes` domains, on one device, and trains on `images`, what its
    task draws batches from (`kdx2i.tasks.opening.Task.training_data`); None for a method that only generates.
    `encoders` is the file of the encoder of its conditions; None for one that reads none.
    """

    settings: SettingsT
    resolution: int
    num_classes: int
    device: torch.device
    images: Any = None
    encoders: Path | None = None

    def with_settings(self, settings: OtherSettingsT) -> "MethodSetup[OtherSettingsT]":
        """Return the same set-up with other settings."""
        return MethodSetup(settings, self.resolution, self.num_classes, self.device, self.images, self.encoders)


class StartsFromTeacher(Protocol):
    """A method that is made from a teacher's own networks: its `Architecture` says `starts_from_teacher`."""

    def start_from_teacher(self, path: Path) -> None:
        """Copy a teacher's networks. `UserError` when the file is no teacher of the form and sizes needed."""


class ConditionalMethod(Trainable, Protocol[ConditionT]):
    """A method in stage 2 and after it; a condition is one of `kdx2i.tasks.conditions`."""

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Start from a distilled student: `student` holds its tensors as `<network>.<parameter>`."""

    def generate(self, condition: ConditionT) -> Tensor:
        """Return images [B, 3, R, R] in [-1, 1] of the averaged networks; noise is from torch's global generator.

        `UserError` for a condition that the method has no networks for.
        """
