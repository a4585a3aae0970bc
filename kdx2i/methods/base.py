"""The protocols through which the loop, the distillation and the evaluation drive an architecture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from kdx2i.training.loop import Trainable

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


class StartsFromTeacher(Protocol):
    """A method that is made from a teacher's own networks: its settings module says `STARTS_FROM_TEACHER = True`."""

    def start_from_teacher(self, path: Path) -> None:
        """Copy a teacher's networks. `UserError` when the file is no teacher of the form and sizes needed."""


class I2IMethod(Trainable, Protocol):
    """An image-to-image method in stage 2 and after it."""

    def initialise(self, student: Mapping[str, Tensor], *, reset_encoders: bool) -> None:
        """Start from a distilled student: `student` holds its tensors as `<network>.<parameter>`."""

    def translate(self, x: Tensor, y: Tensor, mode: str, references: Tensor | None = None) -> Tensor:
        """Translate images [B, 3, R, R] to the domains y [B] with the averaged networks, in [-1, 1].

        `references` [B, 3, R, R] are images of the target domains, needed in the mode `reference`; the mode
        `latent` draws its noise from torch's global generator.
        """
