"""The shape of `benchmarks/figures/<name>.yaml`: a grid of images of the paper, drawn from runs. Torch-free."""

from typing import Literal

from pydantic import Field, model_validator

from kdx2i.config.models import Name, Strict

STAGE_1 = ("students", "pairs")
"""The kinds of figures that show students, not runs."""


class FigureMethod(Strict):
    """A method of a figure, by the paper's names."""

    label: str
    architecture: Name
    transfer: Name
    resolution: int = Field(gt=0)


class FigureConfig(Strict):
    """A qualitative figure.

    `kind`: `classes` translates sources into classes (latent guidance), `references` sources by references,
    `methods` sets several methods beside each other, `students` shows triplets and what stage 1 makes of them.
    `conditions` shows captions, utterances or label maps beside the images of some methods, `pairs` the teacher's x1
    and what students of text, speech or label maps make of the conditions c_x and c_y.
    `columns`: classes or references; null is all classes. `reconstruction` adds each source translated to its own
    class with itself as reference. `dataset` is null for `students` and `pairs`, which have no data; `pairs` have no
    `guidance` either.
    """

    name: Name
    title: str
    caption: str
    kind: Literal["classes", "references", "methods", "students", "conditions", "pairs"]
    guidance: Literal["latent", "reference", "text", "audio", "map"] | None = None
    dataset: Name | None = None
    methods: list[FigureMethod] = Field(min_length=1)
    rows: int = Field(default=4, ge=1, le=64)
    columns: int | None = Field(default=6, ge=1, le=64)
    reconstruction: bool = False
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _is_consistent(self) -> "FigureConfig":
        if (self.dataset is None) != (self.kind in STAGE_1):
            raise ValueError("a figure of students or pairs has no `dataset`, every other one needs it")
        if (self.guidance is None) != (self.kind == "pairs"):
            raise ValueError("a figure of pairs has no `guidance`, every other one needs it")
        if self.kind not in ("methods", "conditions", "pairs") and len(self.methods) != 1:
            raise ValueError(f"a figure of the kind `{self.kind}` shows one method")
        guided = {"classes": "latent", "references": "reference"}.get(self.kind, self.guidance)
        if self.guidance != guided:
            raise ValueError(f"a figure of the kind `{self.kind}` has the guidance `{guided}`")
        return self
