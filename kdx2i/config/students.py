"""The shape of `benchmarks/students/<name>.yaml`: the recipe of a shipped student. Torch-free."""

from pydantic import Field

from kdx2i.config.models import Name, Settings, Strict


class StudentRecipe(Strict):
    """How a shipped student is distilled.

    Networks, teacher and settings of stage 1 are those of `preset` at `resolution` (pixels here), so that the student
    fits what that preset trains; `distill` is merged over its settings of stage 1: the full budget.
    """

    name: Name
    preset: Name
    architecture: Name
    transfer: Name
    resolution: int = Field(gt=0)
    seed: int = Field(default=0, ge=0)
    distill: Settings = Field(default_factory=dict)
