"""How teachers are trained: what `benchmarks/teachers/<name>.yaml` may say, one recipe a form. Torch-free."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kdx2i.config import listed, names_in, read_yaml, validate
from kdx2i.errors import UserError


class RecipePart(BaseModel):
    """A part of a teacher's YAML: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class Sizes(RecipePart):
    """Widths of a StyleGAN2: min(channel_base / resolution, channel_max) channels at a resolution."""

    z_dim: int = Field(default=512, ge=1)
    w_dim: int = Field(default=512, ge=1)
    num_layers: int = Field(default=8, ge=1)
    channel_base: int = Field(default=16384, ge=1)
    channel_max: int = Field(default=512, ge=1)


class BigGANSizes(RecipePart):
    """Sizes of a BigGAN; see `kdx2i.teacher.biggan.GeneratorConfig`."""

    width: int = Field(default=96, ge=1)
    z_dim: int = Field(default=120, ge=1)
    shared_dim: int = Field(default=128, ge=1)
    attention: int = Field(default=64, ge=0)
    table: Literal["official", "truncated"] = Field(default="official", description="protocol entry biggan-32px")


class Augmentation(RecipePart):
    """See `kdx2i.teacher.augment.AugmentSettings`."""

    probability: float = Field(default=0.0, ge=0, le=1)
    target: float | None = None
    speed_kimg: float = Field(default=500.0, gt=0)
    translation: float = Field(default=0.125, ge=0)
    scale: float = Field(default=0.2, ge=0)
    rotation: float = Field(default=0.0, ge=0)
    brightness: float = Field(default=0.0, ge=0)
    contrast: float = Field(default=0.0, ge=0)
    saturation: float = Field(default=0.0, ge=0)


class Recipe(RecipePart):
    """What every teacher that the suite trains has: `benchmarks/teachers/<name>.yaml`."""

    name: str
    title: str
    dataset: str
    resolution: int = Field(ge=4)
    iterations: int = Field(ge=1)
    batch: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)
    ema_kimg: float = Field(default=10.0, gt=0)
    augment: Augmentation = Augmentation()
    grow_from: str | None = Field(
        default=None, description="a teacher of lower resolution to start from: a name here or a file"
    )
    stored: Literal["float32", "float16"] = "float32"

    def as_json(self) -> dict[str, Any]:
        """Return all settings, as JSON."""
        return self.model_dump(mode="json")


class StyleGAN2Recipe(Recipe):
    """A StyleGAN2 teacher."""

    sizes: Sizes = Sizes()
    learning_rate: float = Field(default=2e-3, gt=0)
    r1_gamma: float = Field(default=1.0, ge=0)
    r1_every: int = Field(default=16, ge=1)
    path_length_weight: float = Field(default=0.0, ge=0)
    mixing_probability: float = Field(default=0.9, ge=0, le=1)
    mirror: bool = True
    noise: Literal["random", "none"] = "random"


class BigGANRecipe(Recipe):
    """A class-conditional BigGAN teacher; its classes are those of its dataset, in their order."""

    form: Literal["biggan"]
    grow_from: None = None
    sizes: BigGANSizes = BigGANSizes()
    generator_rate: float = Field(default=1e-4, gt=0)
    discriminator_rate: float = Field(default=4e-4, gt=0)
    discriminator_steps: int = Field(default=1, ge=1)


FORMS: dict[str, type[BigGANRecipe]] = {"biggan": BigGANRecipe}
"""By the key `form`; a file without it is a StyleGAN2."""


def load_recipe(root: Path, name: str) -> StyleGAN2Recipe | BigGANRecipe:
    """Return the recipe of a teacher of the repository at `root`; an unknown name raises `UserError`."""
    folder = root / "benchmarks" / "teachers"
    if name not in names_in(folder):
        raise UserError(f"there is no teacher `{name}`; the teachers are {listed(names_in(folder))}")
    return read_recipe(read_yaml(folder / f"{name}.yaml"), f"benchmarks/teachers/{name}.yaml")


def read_recipe(data: dict[str, Any], where: str) -> StyleGAN2Recipe | BigGANRecipe:
    """Return the recipe that a mapping holds; the first mistake raises `UserError`, which begins with `where`."""
    if "form" not in data:
        return validate(StyleGAN2Recipe, data, where)
    form = str(data["form"])
    if form not in FORMS:
        raise UserError(f"{where}: there is no form `{form}`; say {listed(FORMS)}, or nothing for a StyleGAN2")
    return validate(FORMS[form], data, where)
