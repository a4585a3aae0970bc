"""The shape of `benchmarks/user_study.yaml`: the pairwise forced choice of Figure 3(c). Torch-free."""

from pathlib import Path

from pydantic import Field, model_validator

from kdx2i.config.models import Name, Strict
from kdx2i.config.reading import read_yaml, validate

FILE = "benchmarks/user_study.yaml"


class StudyConfig(Strict):
    """A user study: `ours` beside each of `others`, rows of one part of a table on one dataset (the paper's names).

    `subjects` people choose `pairs` times each; `checks` more pairs have noise on one side. Which pairs, in which
    order and on which sides is drawn from `seed`.
    """

    table: Name
    part: Name
    dataset: Name
    ours: str
    others: list[str] = Field(min_length=1)
    subjects: int = Field(ge=1, le=1000)
    pairs: int = Field(ge=1, le=1000)
    checks: int = Field(ge=0, le=100)
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _rows_are_different(self) -> "StudyConfig":
        if len({self.ours, *self.others}) < 1 + len(self.others):
            raise ValueError("a row stands twice")
        return self


def load_study(root: Path) -> StudyConfig:
    """Load the user study; a broken file raises `UserError`."""
    path = root / FILE
    return validate(StudyConfig, read_yaml(path), path.name)
