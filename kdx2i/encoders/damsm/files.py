"""DAMSM encoders as one file: tensors and, as its metadata, settings, words and provenance; no code in it can run."""

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from kdx2i.encoders.damsm.encoders import Damsm
from kdx2i.encoders.damsm.image_encoder import ImageEncoder
from kdx2i.encoders.damsm.settings import DamsmSettings
from kdx2i.encoders.damsm.text_encoder import RNNEncoder
from kdx2i.encoders.damsm.text_model import DIMENSION
from kdx2i.encoders.damsm.trunks import build_image_encoder, load_trunk
from kdx2i.encoders.damsm.vocabulary import END, Vocabulary
from kdx2i.encoders.storing import stored
from kdx2i.errors import UserError
from kdx2i.foreign import refusing, require_plain
from kdx2i.metrics.network_file import read_network
from kdx2i.training.checkpoint import prefixed, save_tensors, select

FORMAT = "kdx2i-damsm-1"
_PACKAGED = "trunk."
"""The tensors of a packaged trunk, which stays in its package."""


class _Header(BaseModel):
    """What the file says of the encoders."""

    model_config = ConfigDict(strict=True)

    settings: DamsmSettings
    words: list[str] = Field(min_length=1, max_length=1_000_000)
    provenance: dict[str, Any]


def save_damsm(path: Path, damsm: Damsm, dtype: torch.dtype = torch.float32) -> None:
    """Write the encoders, atomically, with weights in `dtype`; the path of a trunk's weights here is left out."""
    image = {key: value for key, value in damsm.image.state_dict().items() if not key.startswith(_PACKAGED)}
    tensors = stored(prefixed("text", damsm.text.state_dict()) | prefixed("image", image), dtype)
    header = {
        "format": FORMAT,
        "settings": damsm.settings.model_copy(update={"trunk_weights": None}).model_dump(),
        "words": list(damsm.vocabulary.words),
        "provenance": damsm.provenance,
    }
    save_tensors(path, tensors, header)


def load_damsm(path: Path, device: torch.device) -> Damsm:
    """Return the frozen encoders of a file of `save_damsm` on a device.

    `UserError` for a file that is missing, damaged or something else, and where a packaged trunk is not installed.
    """
    if require_plain(path) is None:
        raise UserError(f"{path} does not exist: train the DAMSM encoders, or import the official ones, into it")
    tensors, metadata = read_network(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path} holds no DAMSM encoders")
    with refusing(f"{path} is not a readable file of DAMSM encoders"):
        header = _Header.model_validate({key: metadata.get(key) for key in _Header.model_fields})
        if header.words[0] != END or len(set(header.words)) != len(header.words):
            raise ValueError("its words are no vocabulary")
        settings = header.settings
        size = DIMENSION if settings.unseen_words == "text-model" else settings.embedding
        _require_table(tensors, len(header.words), size)
        text = RNNEncoder(len(header.words), size, settings.dimension, drop_prob=settings.dropout)
        text.load_state_dict(select(tensors, "text"))
        image = build_image_encoder(settings)
        _load_image(image, settings, select(tensors, "image"))
    damsm = Damsm(settings, Vocabulary(tuple(header.words)), text, image, header.provenance)
    return damsm.freeze(device)


def _require_table(tensors: dict[str, Tensor], words: int, size: int) -> None:
    """Compare the table of words before a network of its size is made."""
    table = tensors.get("text.encoder.weight")
    if table is None or tuple(table.shape) != (words, size):
        raise ValueError(f"its table of words is not ({words}, {size})")


def _load_image(image: ImageEncoder, settings: DamsmSettings, state: dict[str, Tensor]) -> None:
    """Give an image encoder its tensors; those of a packaged trunk come from its package."""
    missing, surplus = image.load_state_dict(state, strict=False)
    absent = [key for key in missing if not key.startswith(_PACKAGED)]
    if absent or surplus:
        raise ValueError(f"its image encoder is another network: see {(absent + list(surplus))[0]}")
    if missing:
        load_trunk(image, settings)
