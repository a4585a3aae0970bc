"""How feature networks are trained: what `benchmarks/features/<name>.yaml` may say. Torch-free."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kdx2i.config import listed, names_in, read_yaml, validate
from kdx2i.errors import UserError


class FeatureRecipe(BaseModel):
    """A feature network: unknown keys are errors.

    It learns the classes of `datasets` (training images) and what damage is. The classes of the first data set are
    those of the Inception Score. No training image has the pixels of a test image of `without_tests_of`.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    datasets: tuple[str, ...] = Field(min_length=1)
    without_tests_of: tuple[str, ...] = ()
    iterations: int = Field(ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=3e-3, gt=0, description="at the top of the schedule")
    weight_decay: float = Field(default=0.02, ge=0)
    damaged: float = Field(default=0.4, ge=0, le=1, description="share of damaged images in a batch")
    input_size: int = Field(default=64, ge=32, description="pixels of a side that the network sees")
    sizes: tuple[int, ...] = Field(default=(32, 64), min_length=1, description="sizes that images are reduced to first")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="the first one is shipped")
    stored: Literal["float32", "float16"] = "float16"

    @property
    def read(self) -> tuple[str, ...]:
        """The datasets whose splits the training reads, each once."""
        return tuple(dict.fromkeys((*self.datasets, *self.without_tests_of)))

    def as_json(self) -> dict[str, Any]:
        """Return all settings but the seeds, as JSON."""
        return self.model_dump(mode="json", exclude={"seeds"})


def load_feature_recipe(root: Path, name: str) -> FeatureRecipe:
    """Return the recipe of a feature network of the repository at `root`; an unknown name raises `UserError`."""
    folder = root / "benchmarks" / "features"
    if name not in names_in(folder):
        raise UserError(f"there is no feature network `{name}`; there are {listed(names_in(folder))}")
    return validate(FeatureRecipe, read_yaml(folder / f"{name}.yaml"), f"benchmarks/features/{name}.yaml")
