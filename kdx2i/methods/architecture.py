"""How an architecture registers itself: its package's `__init__.py` declares one `ARCHITECTURE`. Torch-free."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kdx2i.config import TaskName
from kdx2i.methods.settings import StrictSettings


@dataclass(frozen=True)
class Architecture:
    """What the suite knows of an architecture without importing torch.

    `settings` has the fields `networks`, `distill` and `train`. `method` is the `module:name` of what makes the method
    of a `MethodSetup`, `student` that of the student's class; without `student` stage 1 cannot distil it. `modes` are
    the ways in which a run can be asked for images. With `starts_from_teacher` runs begin at the teacher's own
    networks; with `reads_encoder` they read conditions by an encoder that is trained before (`MethodSetup.encoders`).
    `count_updates` tells from the settings of stage 2 how often the translating generator is updated; without it that
    is `iterations`.
    """

    name: str
    settings: type[StrictSettings]
    method: str
    student: str | None = None
    task: TaskName = "image-to-image"
    modes: tuple[str, ...] = ("latent", "reference")
    starts_from_teacher: bool = False
    reads_encoder: bool = False
    count_updates: Callable[[Mapping[str, Any]], int] | None = None

    @property
    def method_module(self) -> str:
        """The module of the method, whose imports make a run what it is."""
        return self.method.partition(":")[0]

    @property
    def student_module(self) -> str:
        """The module of the student, or of the method where there is none."""
        return (self.student or self.method).partition(":")[0]

    def generator_updates(self, train: Mapping[str, Any]) -> int | None:
        """Return how often stage 2 updates the generator that translates; None where `train` does not say."""
        updates = self.count_updates(train) if self.count_updates and train else train.get("iterations")
        return updates if isinstance(updates, int) and not isinstance(updates, bool) else None
