"""Shipped students: files that say, in their own header, what they are. Torch-free."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdx2i.config import Settings, Strict
from kdx2i.errors import UserError
from kdx2i.foreign import require_plain, tensor_metadata
from kdx2i.plan.specs import DistillSpec

BITS = 16
"""Bits of each number of a shipped student (IEEE half precision); training goes on in single precision."""


class ShippedStudent(Strict):
    """The header of a shipped student.

    `identity`, `spec` and `files` are those of the distillation that made it (`kdx2i.plan.leaf`), `metrics` its
    measures of stage 1 (`kdx2i.distill.measures`), `bits` those of each stored number.
    """

    name: str
    identity: str
    spec: DistillSpec
    files: dict[str, str]
    metrics: Settings
    bits: int

    @property
    def distilled(self) -> bool | None:
        """Whether it beat its yardsticks when it was shipped; None where it was not measured."""
        return distilled_by(self.metrics)


def distilled_by(metrics: Any) -> bool | None:
    """Return what the measures of stage 1 say of a student; None where they say nothing."""
    value = metrics.get("distilled") if isinstance(metrics, dict) else None
    return value if isinstance(value, bool) else None


def read_shipped(path: Path) -> ShippedStudent:
    """Read the header of a shipped student; a missing, broken or foreign file raises `UserError`."""
    state = require_plain(path)
    if state is None:
        raise UserError(
            f"{path} does not exist: `kdx2i ship` makes a shipped student, `students: {{}}` in a preset distils instead"
        )
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, _size: int, _mtime: int) -> ShippedStudent:
    metadata = tensor_metadata(path)
    spec = metadata.get("spec")
    distill = spec.get("distill") if isinstance(spec, dict) else None
    if isinstance(distill, dict):
        distill.pop("checkpoint_every", None)  # Students of the time when it was a setting of theirs.
    try:
        return ShippedStudent.model_validate(metadata)
    except ValidationError:
        raise UserError(f"{path} is not a student that `kdx2i ship` wrote: its header says something else") from None
