"""How encoders of conditions are trained: what `benchmarks/encoders/<name>.yaml` may say, by kind. Torch-free."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from kdx2i.config import TaskName, listed, names_in, read_yaml, validate
from kdx2i.config.models import Name, Strict
from kdx2i.encoders.damsm.settings import DamsmSettings, DamsmTraining
from kdx2i.encoders.speech.settings import SpeechEncoderSizes, SpeechEncoderTraining
from kdx2i.errors import UserError


class EncoderRecipe(Strict):
    """What every encoder of conditions has. It is trained on the training images of `dataset` at `resolution` px.

    `stored` are the numbers of its file: with `float16` the weights of layers are rounded to half precision, and
    measured so.
    """

    task: ClassVar[TaskName]
    module: ClassVar[str]

    name: Name
    title: str
    dataset: Name
    resolution: int = Field(ge=8)
    seed: int = Field(default=0, ge=0)
    stored: Literal["float32", "float16"] = "float32"

    def as_json(self) -> dict[str, Any]:
        """Return all settings, as JSON."""
        return self.model_dump(mode="json")


class DamsmBudget(DamsmTraining):
    """How DAMSM encoders are trained, and for how long."""

    iterations: int = Field(ge=1)


class DamsmRecipe(EncoderRecipe):
    """DAMSM encoders of captions and images."""

    task = "text"
    module = "kdx2i.encoders.damsm.making"

    kind: Literal["damsm"]
    encoder: DamsmSettings = DamsmSettings()
    train: DamsmBudget

    @property
    def choices(self) -> dict[str, str]:
        """What it takes of the choices of the protocol register, by entry."""
        return {
            "damsm-trunk": self.encoder.trunk,
            "damsm-trunk-statistics": self.train.trunk_statistics,
            "damsm-unseen-words": self.encoder.unseen_words,
        }


class SpeechRecipe(EncoderRecipe):
    """An encoder of utterances and images."""

    task = "speech"
    module = "kdx2i.encoders.speech.making"

    kind: Literal["speech"]
    encoder: SpeechEncoderSizes = SpeechEncoderSizes()
    train: SpeechEncoderTraining = SpeechEncoderTraining()
    image_weights: str | None = Field(default=None, description="file of the image network; None: where it is cached")

    @property
    def choices(self) -> dict[str, str]:
        """What it takes of the choices of the protocol register, by entry."""
        return {
            "s2igan-speech-encoder": "trained",
            "s2igan-frame-padding": self.encoder.frame_padding,
            "s2igan-image-network": self.encoder.image_network,
        }


Recipe = DamsmRecipe | SpeechRecipe
FORMS: dict[str, type[DamsmRecipe] | type[SpeechRecipe]] = {"damsm": DamsmRecipe, "speech": SpeechRecipe}
"""By the key `kind`."""


def load_encoder_recipe(root: Path, name: str) -> Recipe:
    """Return the recipe of an encoder of the repository at `root`; an unknown name raises `UserError`."""
    folder = root / "benchmarks" / "encoders"
    if name not in names_in(folder):
        raise UserError(f"there is no encoder `{name}`; the encoders are {listed(names_in(folder))}")
    where = f"benchmarks/encoders/{name}.yaml"
    recipe = read_encoder_recipe(read_yaml(folder / f"{name}.yaml"), where)
    if recipe.name != name:
        raise UserError(f"{where}: the key `name` must be `{name}`, like the file")
    return recipe


def read_encoder_recipe(data: dict[str, Any], where: str) -> Recipe:
    """Return the recipe that a mapping holds; the first mistake raises `UserError`, which begins with `where`."""
    kind = str(data.get("kind"))
    if kind not in FORMS:
        raise UserError(f"{where}: the key `kind` must be one of {listed(FORMS)}")
    recipe: Recipe = validate(FORMS[kind], data, where)
    return recipe
