"""A task opened on a split: the only place that loads a task's module by name."""

import importlib
from typing import Any, Protocol

import torch

from kdx2i.config import TaskName
from kdx2i.data.rows import Split
from kdx2i.tasks.facts import TASKS


class Task(Protocol):
    """A task, opened on a split at a resolution: its images and conditions are read when they are asked for."""

    split: Split
    resolution: int

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the labels."""

    def training_data(self, device: torch.device) -> Any:
        """Return what a method trains on: images with their conditions, drawn a batch at a time."""


def open_task(name: TaskName, split: Split, resolution: int) -> Task:
    """Return a task, opened on the images of a split at `resolution` px."""
    task: Task = importlib.import_module(TASKS[name].module).OpenTask(split, resolution)
    return task
