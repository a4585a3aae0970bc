"""Pictures with captions that a small encoder can learn: coloured squares, left or right; DAMSM encoders for them."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from kdx2i.encoders.damsm.encoders import Damsm, new_damsm
from kdx2i.encoders.damsm.settings import DamsmSettings
from kdx2i.tasks.conditions import CaptionCondition
from kdx2i.tasks.paired import PairedImages
from kdx2i.tasks.text import OpenTask

CPU = torch.device("cpu")
SIDE = 32
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
PLACES = ("left", "right")
SETTINGS = DamsmSettings(
    trunk="small", small_width=8, input_size=SIDE, dimension=16, embedding=12, dropout=0.0, words=8
)


def picture(colour: str, place: str) -> Tensor:
    """Return a grey picture, uint8 (3, 32, 32), with a coloured square."""
    image = torch.full((3, SIDE, SIDE), 90, dtype=torch.uint8)
    left = 3 if place == "left" else 19
    image[:, 10:22, left : left + 10] = torch.tensor(COLOURS[colour], dtype=torch.uint8)[:, None, None]
    return image


def captions(colour: str, place: str) -> list[str]:
    """Return two captions of a picture, of different lengths."""
    return [f"a {colour} square on the {place}", f"{place}: {colour}"]


def text_task() -> OpenTask:
    """Return a text task of eight training pictures of four classes, the colours, and a test picture of a fifth."""
    pairs = [(colour, place) for colour in COLOURS for place in PLACES]
    rows = [SimpleNamespace(label=colour, role="train", pair=(colour, place)) for colour, place in pairs]
    rows.append(SimpleNamespace(label="yellow", role="test", pair=("white", "left")))

    def select(role: str) -> list[Any]:
        return [row for row in rows if row.role == role]

    def written(row: Any) -> list[str]:
        return ["an unseen thing"] if row.role == "test" else captions(*row.pair)

    split: Any = SimpleNamespace(select=select, classes=[*COLOURS, "yellow"])
    task = OpenTask(split, SIDE)
    fixed = {
        "images": torch.stack([picture(*row.pair) for row in rows]),
        "conditions": SimpleNamespace(captions=written),
    }
    vars(task).update(fixed)  # instead of the cached properties that read a split's files
    return task


def paired_images() -> PairedImages[CaptionCondition]:
    """Return the training pictures with their captions."""
    return text_task().training_data(CPU)


def damsm(seed: int = 0, **changes: Any) -> Damsm:
    """Return untrained encoders whose vocabulary is that of the training captions."""
    torch.manual_seed(seed)
    written = [caption for colour in COLOURS for place in PLACES for caption in captions(colour, place)]
    return new_damsm(SETTINGS.model_copy(update=changes), written).freeze(CPU)


class LetterVectors:
    """Stands for the open text model: a vector of unit length for any word, from its letters."""

    dimension = 384

    def vectors(self, words: Any) -> Tensor:
        made = [torch.randn(384, generator=torch.Generator().manual_seed(sum(map(ord, word)))) for word in words]
        return torch.nn.functional.normalize(torch.stack(made), dim=1) if made else torch.zeros(0, 384)
