"""What a plan has to know of the rooms further right, handed in by whoever makes the plan (`kdx2i.suite`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from kdx2i.config import ArchitectureConfig, TaskName, merged, validate


class ArchitectureFacts(Protocol):
    """An architecture as it registers itself: see `kdx2i.methods.architecture.Architecture`."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def settings(self) -> type[BaseModel]:
        """The model of `networks`, `distill` and `train`."""

    @property
    def task(self) -> TaskName:
        """The task that it is made for."""

    @property
    def modes(self) -> tuple[str, ...]:
        """How a run can be asked for images."""

    @property
    def starts_from_teacher(self) -> bool:
        """Whether runs start from the teacher itself."""

    @property
    def reads_encoder(self) -> bool:
        """Whether its methods read conditions by an encoder that is trained before."""

    @property
    def method_module(self) -> str:
        """The module of the method."""

    @property
    def student(self) -> str | None:
        """What stage 1 distils, or None where it cannot."""

    @property
    def student_module(self) -> str:
        """The module of the student."""

    def generator_updates(self, train: Mapping[str, Any]) -> int | None:
        """Return how often stage 2 updates the generator that translates."""


class TaskFacts(Protocol):
    """A task: see `kdx2i.tasks.facts.TaskFacts`."""

    @property
    def name(self) -> TaskName:
        """Its name."""

    @property
    def distillation(self) -> str | None:
        """The stage 1 that it has, or None."""

    @property
    def image_counts(self) -> frozenset[str]:
        """The settings of an evaluation that say how many images it asks for."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that a table may ask for."""

    @property
    def module(self) -> str:
        """The module that opens it on a split."""

    @property
    def scoring(self) -> str:
        """The module that asks trained models for images and scores them."""


class TransferFacts(Protocol):
    """What a transfer changes: see `kdx2i.distill.transfers.TransferSettings`."""

    @property
    def distils(self) -> bool:
        """Whether there is a stage 1."""

    @property
    def student(self) -> str | None:
        """The transfer whose student is used, None for its own."""

    @property
    def only(self) -> str | None:
        """The one stage 1 that it changes, or None."""

    @property
    def discriminator(self) -> str:
        """How stage 2's discriminator starts: `student`, `random`, or the transfer whose student has it."""

    def changes(self) -> dict[str, Any]:
        """Return what it changes in both stages, as JSON."""

    def first_stage(self) -> dict[str, Any]:
        """Return what it changes in stage 1, as JSON."""


class TeacherFacts(Protocol):
    """A teacher that can be trained: see `kdx2i.teacher.recipes`."""

    @property
    def dataset(self) -> str:
        """The dataset that it is trained on."""

    @property
    def resolution(self) -> int:
        """Pixels of a side."""

    @property
    def seed(self) -> int:
        """Seed of the training."""

    @property
    def grow_from(self) -> str | None:
        """A teacher file of lower resolution to start from, or the name of a teacher that is trained first."""

    def as_json(self) -> dict[str, Any]:
        """Return its settings, as JSON."""


class FeatureFacts(Protocol):
    """A feature network that can be trained: see `kdx2i.features.recipes`."""

    @property
    def seeds(self) -> Sequence[int]:
        """The seeds that it is trained from."""

    @property
    def read(self) -> Sequence[str]:
        """The datasets whose splits its training reads, each once."""

    def as_json(self) -> dict[str, Any]:
        """Return its settings without the seeds, as JSON."""


class EncoderFacts(Protocol):
    """An encoder of conditions that can be trained: see `kdx2i.encoders.recipes`."""

    @property
    def kind(self) -> str:
        """What it encodes: `damsm` captions, `speech` utterances."""

    @property
    def task(self) -> TaskName:
        """The task whose conditions it encodes."""

    @property
    def dataset(self) -> str:
        """The dataset on whose training images it is trained."""

    @property
    def resolution(self) -> int:
        """Pixels of a side of these images."""

    @property
    def seed(self) -> int:
        """Seed of the training."""

    @property
    def module(self) -> str:
        """The module that trains it."""

    def as_json(self) -> dict[str, Any]:
        """Return its settings, as JSON."""


@dataclass(frozen=True)
class Catalogue:
    """Tasks, architectures and transfers by name, the models of evaluation and segmenter settings, teachers, feature
    networks and encoders.

    `transfers` are those under the readings of the paper that a preset takes (`readings` is their model), by name;
    `distillations` are the modules that make and measure the students of a stage 1, by its name.
    `teachers`, `features` and `encoders` read the settings of one of the repository at a root, by name.
    """

    tasks: Mapping[TaskName, TaskFacts]
    architectures: Mapping[str, ArchitectureFacts]
    readings: type[BaseModel]
    transfers: Callable[[Any], Mapping[str, TransferFacts]]
    distillations: Mapping[str, tuple[str, ...]]
    evaluation: type[BaseModel]
    segmenter: type[BaseModel]
    teachers: Callable[[Path, str], TeacherFacts]
    features: Callable[[Path, str], FeatureFacts]
    encoders: Callable[[Path, str], EncoderFacts]

    def student_modules(self, architecture: str) -> tuple[str, ...]:
        """Return the modules that make and measure an architecture's student, beside those of the stage."""
        registered = self.architectures[architecture]
        distillation = self.tasks[registered.task].distillation
        return (registered.student_module, *(self.distillations[distillation] if distillation else ()))

    def settings(self, architecture: str, config: ArchitectureConfig, resolution: int, where: str) -> dict[str, Any]:
        """Return `networks`, `distill` and `train` at one resolution, checked and completed with defaults, as JSON.

        Those of an architecture that is not registered are returned as they stand. `UserError` begins with `where`.
        """
        base = {"networks": config.networks, "distill": config.distill, "train": config.train}
        data = merged(base, config.at(resolution).model_dump(include=set(base)))
        if architecture not in self.architectures:
            return data
        checked = validate(self.architectures[architecture].settings, data, where)
        settings: dict[str, Any] = checked.model_dump(mode="json")
        return settings
